//! Engines that are other servers: what each kind needs, and how it is opened. Settings of the
//! configuration and those of `stowage admin location add` are checked and opened alike; another
//! kind of engine is added here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use stowage_engine::{Capabilities, Engine, Error};
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
}

/// Which settings are set that not every kind of engine has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) access_key: bool,
    pub(crate) secret_key: bool,
    pub(crate) admin_token: bool,
    pub(crate) admin_endpoint: bool,
}

impl EngineKind {
    const ALL: [Self; 2] = [Self::CephRgw, Self::Garage];

    /// What it can do.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::CephRgw => stowage_engine_ceph::CAPABILITIES,
            Self::Garage => stowage_engine_garage::CAPABILITIES,
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
            // Garage's other port has S3.
            ("admin_endpoint", given.admin_endpoint, has_token.then_some(true)),
        ];
        let fault = |(name, is_set, is_wanted)| match is_wanted {
            Some(true) if !is_set => Some((name, "must be set")),
            Some(false) if is_set => Some((name, "this engine has none")),
            _ => None,
        };
        settings.into_iter().filter_map(fault).collect()
    }

    /// Which setting is wrong when the server refuses us.
    fn credential(self) -> (&'static str, &'static str) {
        match self {
            Self::CephRgw => (
                "engine.secret_key",
                "is refused by the server, or engine.access_key is, or its user lacks caps",
            ),
            Self::Garage => ("engine.admin_token", "is refused by the server"),
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
    let is = |field: &Option<String>| field.as_deref() == Some(endpoint);
    match () {
        () if is(&settings.admin_endpoint) => "engine.admin_endpoint",
        () if is(&settings.s3_endpoint) => "engine.s3_endpoint",
        () => "endpoint",
    }
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
        };
        let mut violations = Violations::default();
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
            (Err(error), _) => {
                let why = format!("does not answer as {kind} does: {}", root_of(&error));
                violations.push(field_of(admin, settings), why);
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
