//! Engines that are other servers: what each kind needs, and how it is opened. Settings of the
//! configuration and those of `stowage admin location add` are checked and opened alike; another
//! kind of engine is added here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use stowage_engine::{Capabilities, Engine, Error};
use stowage_engine_aws::{Aws, AwsOptions};
use stowage_engine_ceph::{Ceph, CephOptions};
use stowage_engine_garage::{Garage, GarageOptions};
use stowage_engine_remote::{Authorities, OpenError, check_answers};
use stowage_storage::{EngineOpener, EngineSettings, LocationConfig};
use stowage_types::{Clock, Random, Violations};

use crate::config::LocationSection;
use crate::roles::Common;

/// Longest time that a server may take to answer when its settings are tried out.
const ANSWER_MAX: Duration = Duration::from_secs(8);

/// The kinds of engines that are other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum EngineKind {
    /// Ceph RADOS Gateway.
    #[serde(rename = "ceph-rgw")]
    CephRgw,
    /// Garage.
    #[serde(rename = "garage")]
    Garage,
    /// S3 with the users of IAM.
    #[serde(rename = "aws")]
    Aws,
}

/// Which settings are set that not every kind of engine has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) access_key: bool,
    pub(crate) secret_key: bool,
    pub(crate) admin_token: bool,
    pub(crate) admin_endpoint: bool,
    pub(crate) iam_endpoint: bool,
}

impl EngineKind {
    const ALL: [Self; 3] = [Self::CephRgw, Self::Garage, Self::Aws];

    /// What it can do.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::CephRgw => stowage_engine_ceph::CAPABILITIES,
            Self::Garage => stowage_engine_garage::CAPABILITIES,
            Self::Aws => stowage_engine_aws::CAPABILITIES,
        }
    }

    /// `ceph-rgw`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.capabilities().engine
    }

    /// The kind of that name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Settings that must be set and are not, or are set and should not be.
    pub(crate) fn faults(self, given: Given) -> Vec<(&'static str, &'static str)> {
        let has_token = self == Self::Garage;
        let settings = [
            ("access_key", given.access_key, Some(!has_token)),
            ("secret_key", given.secret_key, Some(!has_token)),
            ("admin_token", given.admin_token, Some(has_token)),
            ("admin_endpoint", given.admin_endpoint, self.wants_admin_endpoint()),
            ("iam_endpoint", given.iam_endpoint, (self != Self::Aws).then_some(false)),
        ];
        let fault = |(name, is_set, is_wanted): (_, bool, _)| match is_wanted {
            Some(true) if !is_set => Some((name, "must be set")),
            Some(false) if is_set => Some((name, "this engine has none")),
            _ => None,
        };
        settings.into_iter().filter_map(fault).collect()
    }

    /// Garage's other port has S3; and IAM is what administers users of AWS.
    fn wants_admin_endpoint(self) -> Option<bool> {
        match self {
            Self::Garage => Some(true),
            Self::Aws => Some(false),
            Self::CephRgw => None,
        }
    }

    /// Why a marker is of no use to it.
    pub(crate) fn fault_of_marker(self, marker: &str) -> Option<&'static str> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_odd = self == Self::Aws && !marker.chars().all(is_plain);
        is_odd.then_some("is part of a path in IAM: letters, digits, dashes, dots")
    }

    /// Which setting is wrong when the server refuses us.
    fn credential(self) -> (&'static str, &'static str) {
        match self {
            Self::CephRgw => (
                "engine.secret_key",
                "is refused by the server, or engine.access_key is, or its user lacks caps",
            ),
            Self::Garage => ("engine.admin_token", "is refused by the server"),
            Self::Aws => (
                "engine.secret_key",
                "is refused by the server, or engine.access_key is, or its user lacks rights",
            ),
        }
    }

    fn open(
        self,
        (location, settings): (&LocationConfig, &EngineSettings),
        ca: Authorities,
        (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
    ) -> Result<Arc<dyn Engine>, OpenError> {
        let endpoint = location.endpoint.as_str();
        let (admin, s3) = (settings.admin_of(endpoint), settings.s3_of(endpoint));
        let (region, marker) = (location.region.clone(), settings.marker.clone());
        match self {
            Self::CephRgw => {
                let access_key = settings.access_key.as_deref().unwrap_or_default();
                let secret_key = settings.secret_key.clone().unwrap_or_default();
                let s3_endpoint = s3.to_owned();
                let options = CephOptions::new(admin, access_key, secret_key);
                let options = CephOptions { s3_endpoint, region, ca, marker, ..options };
                Ok(Arc::new(Ceph::new(options, clock, random)?))
            }
            Self::Garage => {
                let admin_token = settings.admin_token.clone().unwrap_or_default();
                let options = GarageOptions::new(admin, s3, admin_token);
                let options = GarageOptions { region, ca, marker, ..options };
                Ok(Arc::new(Garage::new(options, clock, random)?))
            }
            Self::Aws => {
                let access_key = settings.access_key.as_deref().unwrap_or_default();
                let secret_key = settings.secret_key.clone().unwrap_or_default();
                let mut options = AwsOptions::new(s3, &region, access_key, secret_key);
                if let Some(iam_endpoint) = &settings.iam_endpoint {
                    options.iam_endpoint.clone_from(iam_endpoint);
                }
                let options = AwsOptions { ca, marker, ..options };
                Ok(Arc::new(Aws::new(options, clock, random)?))
            }
        }
    }
}

/// Opens engines, and knows those of the configuration.
#[derive(Debug)]
pub(crate) struct Opener {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// How each location of the configuration is reached, without secrets.
    configured: Vec<(LocationConfig, EngineSettings)>,
}

impl Opener {
    pub(crate) fn new<'a>(
        common: &Common,
        configured: impl Iterator<Item = (&'a String, &'a LocationSection)>,
    ) -> Self {
        let reached = |(code, section): (&String, &LocationSection)| {
            Some((section.location(code), section.reached()?))
        };
        Self {
            clock: Arc::clone(&common.clock),
            random: Arc::clone(&common.random),
            configured: configured.filter_map(reached).collect(),
        }
    }

    /// Makes the engine of a location. Nothing is asked of its server.
    pub(crate) fn make(
        &self,
        kind: EngineKind,
        reached: (&LocationConfig, &EngineSettings),
        ca: Authorities,
    ) -> Result<Arc<dyn Engine>, OpenError> {
        kind.open(reached, ca, (Arc::clone(&self.clock), Arc::clone(&self.random)))
    }
}

/// Who has signed the certificate of the server, as the settings have it.
fn authorities(settings: &EngineSettings) -> Authorities {
    let pem = settings.ca_pem.as_deref();
    pem.map_or(Authorities::System, |text| Authorities::Pem(text.into()))
}

/// The field that an address is from.
fn field_of(endpoint: &str, settings: &EngineSettings) -> &'static str {
    let fields = [
        ("engine.admin_endpoint", &settings.admin_endpoint),
        ("engine.s3_endpoint", &settings.s3_endpoint),
        ("engine.iam_endpoint", &settings.iam_endpoint),
    ];
    let found = fields.iter().find(|(_, address)| address.as_deref() == Some(endpoint));
    found.map_or("endpoint", |(field, _)| field)
}

/// The last cause of a failure: what the system says of a connection.
fn root_of(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

#[async_trait]
impl EngineOpener for Opener {
    fn open(
        &self,
        location: &LocationConfig,
        settings: &EngineSettings,
    ) -> Result<Arc<dyn Engine>, Violations> {
        let known = || EngineKind::ALL.map(EngineKind::name).join(", ");
        let kind = EngineKind::named(&settings.engine).ok_or_else(|| {
            Violations::of("engine.engine", format!("is none of those there are: {}", known()))
        })?;
        let given = Given {
            access_key: settings.access_key.is_some(),
            secret_key: settings.secret_key.is_some(),
            admin_token: settings.admin_token.is_some(),
            admin_endpoint: settings.admin_endpoint.is_some(),
            iam_endpoint: settings.iam_endpoint.is_some(),
        };
        let mut violations = Violations::default();
        if let Some(why) = kind.fault_of_marker(&settings.marker) {
            violations.push("engine.marker", why);
        }
        for (setting, why) in kind.faults(given) {
            violations.push(format!("engine.{setting}"), why);
        }
        violations.finish()?;
        let made = self.make(kind, (location, settings), authorities(settings));
        made.map_err(|error| match &error {
            OpenError::Endpoint { endpoint } => Violations::of(
                field_of(endpoint, settings),
                "is not an http:// or https:// address without a path",
            ),
            OpenError::Authorities { source } => {
                Violations::of("engine.ca_pem", format!("cannot be used: {}", root_of(&**source)))
            }
        })
    }

    async fn try_out(
        &self,
        location: &LocationConfig,
        settings: &EngineSettings,
        engine: &dyn Engine,
    ) -> Result<(), Violations> {
        let endpoint = location.endpoint.as_str();
        let (admin, s3) = (settings.admin_of(endpoint), settings.s3_of(endpoint));
        let kind = engine.capabilities().engine;
        let (health, answers) = tokio::join!(
            tokio::time::timeout(ANSWER_MAX, engine.health()),
            check_answers(s3, authorities(settings), ANSWER_MAX),
        );
        let mut violations = Violations::default();
        let health = health.unwrap_or_else(|_| Err(Error::unavailable("it takes too long")));
        match (health, EngineKind::named(kind)) {
            (Ok(()), _) => {}
            (Err(Error::Denied), Some(kind)) => {
                let (field, why) = kind.credential();
                violations.push(field, why);
            }
            (Err(error), known) => {
                let why = format!("does not answer as {kind} does: {}", root_of(&error));
                let is_aws = known == Some(EngineKind::Aws);
                let field = if is_aws { "engine.iam_endpoint" } else { field_of(admin, settings) };
                violations.push(field, why);
            }
        }
        if let Err(error) = answers {
            // Where both are one address, once is enough.
            let field = field_of(s3, settings);
            if violations.iter().all(|(told, _)| told != field) {
                violations.push(field, format!("does not answer: {}", root_of(&error)));
            }
        }
        violations.finish()
    }

    fn find_configured(
        &self,
        location: &LocationConfig,
        settings: &EngineSettings,
    ) -> Option<String> {
        let is_same = |(known, reached): &&(LocationConfig, EngineSettings)| {
            settings.is_at_same(&location.endpoint, (reached, &known.endpoint))
        };
        self.configured.iter().find(is_same).map(|(known, _)| known.code.clone())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use stowage_storage::LocationState;
    use stowage_types::{SystemClock, SystemRandom};

    use super::*;

    /// Nobody listens there.
    const NOWHERE: &str = "http://127.0.0.1:1";

    fn opener(configured: Vec<(LocationConfig, EngineSettings)>) -> Opener {
        Opener { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom), configured }
    }

    fn location() -> LocationConfig {
        LocationConfig {
            code: "DE".to_owned(),
            endpoint: NOWHERE.to_owned(),
            region: "us-east-1".to_owned(),
            storage_types: vec!["standard".to_owned()],
            state: LocationState::Open,
        }
    }

    fn settings(kind: EngineKind) -> EngineSettings {
        let has_token = kind == EngineKind::Garage;
        let secret = |is_set: bool| is_set.then(|| SecretString::from("hush"));
        EngineSettings {
            engine: kind.name().to_owned(),
            admin_endpoint: has_token.then(|| "http://127.0.0.1:2".to_owned()),
            s3_endpoint: None,
            iam_endpoint: (kind == EngineKind::Aws).then(|| "http://127.0.0.1:3".to_owned()),
            access_key: (!has_token).then(|| "AK".to_owned()),
            secret_key: secret(!has_token),
            admin_token: secret(has_token),
            ca_pem: None,
            marker: "stowage".to_owned(),
        }
    }

    #[test]
    fn every_kind_opens_with_what_it_needs_and_with_nothing_else() {
        let opener = opener(Vec::new());
        for kind in EngineKind::ALL {
            let good = settings(kind);
            let engine = opener.open(&location(), &good).unwrap();
            assert_eq!(engine.capabilities().engine, kind.name());
            let bare = EngineSettings {
                admin_endpoint: None,
                iam_endpoint: None,
                access_key: None,
                secret_key: None,
                admin_token: None,
                ..good
            };
            let refused = opener.open(&location(), &bare).unwrap_err().to_string();
            assert!(refused.contains("must be set"), "{refused}");
        }
        let both = EngineSettings {
            admin_token: Some(SecretString::from("hush")),
            ..settings(EngineKind::CephRgw)
        };
        let refused = opener.open(&location(), &both).unwrap_err().to_string();
        assert_eq!(refused, "engine.admin_token this engine has none");
        let tape = EngineSettings { engine: "tape".to_owned(), ..settings(EngineKind::CephRgw) };
        let refused = opener.open(&location(), &tape).unwrap_err().to_string();
        assert_eq!(refused, "engine.engine is none of those there are: ceph-rgw, garage, aws");
    }

    #[test]
    fn an_address_or_an_authority_of_no_use_is_told_by_its_field() {
        let opener = opener(Vec::new());
        let of = |change: fn(&mut LocationConfig, &mut EngineSettings)| {
            let (mut location, mut settings) = (location(), settings(EngineKind::CephRgw));
            change(&mut location, &mut settings);
            opener.open(&location, &settings).unwrap_err()
        };
        for (violations, field) in [
            (of(|location, _| location.endpoint = "http://x/y".to_owned()), "endpoint"),
            (of(|_, of| of.admin_endpoint = Some("x".to_owned())), "engine.admin_endpoint"),
            (of(|_, of| of.s3_endpoint = Some("http://".to_owned())), "engine.s3_endpoint"),
            (
                of(|_, of| {
                    of.admin_endpoint = Some("https://rgw.test".to_owned());
                    of.ca_pem = Some("nothing".to_owned());
                }),
                "engine.ca_pem",
            ),
        ] {
            let fields: Vec<_> = violations.iter().map(|(field, _)| field).collect();
            assert_eq!(fields, [field], "{violations}");
        }
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_told_by_each_of_its_addresses() {
        let opener = opener(Vec::new());
        for (kind, fields) in [
            (EngineKind::CephRgw, &["endpoint"][..]),
            (EngineKind::Garage, &["engine.admin_endpoint", "endpoint"]),
            (EngineKind::Aws, &["engine.iam_endpoint", "endpoint"]),
        ] {
            let settings = settings(kind);
            let engine = opener.open(&location(), &settings).unwrap();
            let tried = opener.try_out(&location(), &settings, &*engine).await.unwrap_err();
            let told: Vec<_> = tried.iter().map(|(field, _)| field).collect();
            assert_eq!(told, fields, "{tried}");
            assert!(tried.to_string().contains("refused"), "the system's word for it: {tried}");
        }
    }

    #[test]
    fn a_server_of_the_configuration_is_found() {
        let known = (location(), settings(EngineKind::CephRgw));
        let opener = opener(vec![known]);
        let there = settings(EngineKind::CephRgw);
        let other = LocationConfig { code: "FR".to_owned(), ..location() };
        assert_eq!(opener.find_configured(&other, &there).as_deref(), Some("DE"));
        let garage = settings(EngineKind::Garage);
        assert_eq!(opener.find_configured(&other, &garage), None);
    }
}
