//! `LocationService`.

use stowage_auth::RequestContext;
use stowage_proto::storage as pb;
use stowage_proto::storage::location_service_server::LocationService;
use stowage_types::{SecretString, Violations, name, page};
use tonic::{Request, Response, Status};

use super::{Api, complete};
use crate::config::{LocationConfig, LocationState};
use crate::domain::location::{Location, Origin};
use crate::domain::location_change::{Field, NewLocation, NewSettings, Removed};
use crate::error::Error;
use crate::opener::EngineSettings;

/// Most characters of an address.
const URL_CHARS_MAX: usize = 2048;
/// Most characters of a kind, a region, a class or a marker.
const WORD_CHARS_MAX: usize = 64;
/// Most characters of a key, a secret or a token.
const SECRET_CHARS_MAX: usize = 1024;
/// Most characters of certificates: with all else of the settings they fit into what is sealed.
const CA_CHARS_MAX: usize = 32 * 1024;
/// Most classes of storage.
const CLASSES_MAX: usize = 16;

impl From<Location> for pb::Location {
    fn from(location: Location) -> Self {
        let state = match location.state {
            LocationState::Open => pb::LocationState::Open,
            LocationState::Draining => pb::LocationState::Draining,
        };
        let origin = match location.origin {
            Origin::Configured => pb::LocationOrigin::Configured,
            Origin::Added => pb::LocationOrigin::Added,
        };
        Self {
            name: name::location(&location.code),
            code: location.code,
            engine: location.engine,
            endpoint: location.endpoint,
            region: location.region,
            storage_types: location.storage_types,
            state: state.into(),
            origin: origin.into(),
            issues_keys: location.issues_keys,
        }
    }
}

impl From<Removed> for pb::RemoveLocationResponse {
    fn from(_: Removed) -> Self {
        Self {}
    }
}

/// A text that may be left out.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A text, or what stands for an empty one.
fn or(text: String, default: &str) -> String {
    given(text).unwrap_or_else(|| default.to_owned())
}

/// How an engine is reached; bounds alone are checked here: what a kind of engine needs, who opens
/// it knows.
fn read_settings(engine: pb::EngineSettings, violations: &mut Violations) -> EngineSettings {
    let pb::EngineSettings {
        engine,
        admin_endpoint,
        s3_endpoint,
        access_key,
        secret_key,
        admin_token,
        ca_pem,
        marker,
        iam_endpoint,
    } = engine;
    for (field, text, max) in [
        ("engine.engine", &engine, WORD_CHARS_MAX),
        ("engine.admin_endpoint", &admin_endpoint, URL_CHARS_MAX),
        ("engine.s3_endpoint", &s3_endpoint, URL_CHARS_MAX),
        ("engine.iam_endpoint", &iam_endpoint, URL_CHARS_MAX),
        ("engine.access_key", &access_key, SECRET_CHARS_MAX),
        ("engine.secret_key", &secret_key, SECRET_CHARS_MAX),
        ("engine.admin_token", &admin_token, SECRET_CHARS_MAX),
        ("engine.ca_pem", &ca_pem, CA_CHARS_MAX),
        ("engine.marker", &marker, WORD_CHARS_MAX),
    ] {
        violations.check_length(field, text, max);
        let is_line_end = |c: char| field == "engine.ca_pem" && "\r\n\t".contains(c);
        let is_good = |c: char| !c.is_control() || is_line_end(c);
        if !text.chars().all(is_good) {
            violations.push(field, "has characters that cannot be printed");
        }
    }
    EngineSettings {
        engine,
        admin_endpoint: given(admin_endpoint),
        s3_endpoint: given(s3_endpoint),
        iam_endpoint: given(iam_endpoint),
        access_key: given(access_key),
        secret_key: given(secret_key).map(SecretString::from),
        admin_token: given(admin_token).map(SecretString::from),
        ca_pem: given(ca_pem),
        marker: or(marker, "stowage"),
    }
}

impl TryFrom<pb::AddLocationRequest> for NewLocation {
    type Error = Error;

    fn try_from(request: pb::AddLocationRequest) -> Result<Self, Error> {
        let pb::AddLocationRequest { code, endpoint, region, storage_types, engine, .. } = request;
        let classes =
            if storage_types.is_empty() { vec!["standard".to_owned()] } else { storage_types };
        let config = LocationConfig {
            code,
            endpoint,
            region: or(region, "us-east-1"),
            storage_types: classes,
            state: LocationState::Open,
        };
        let mut violations = config.violations();
        violations.check_length("endpoint", &config.endpoint, URL_CHARS_MAX);
        violations.check_length("region", &config.region, WORD_CHARS_MAX);
        if config.storage_types.len() > CLASSES_MAX {
            violations.push("storage_types", format!("are more than {CLASSES_MAX}"));
        }
        for class in &config.storage_types {
            violations.check_length("storage_types", class, WORD_CHARS_MAX);
        }
        let texts = [&config.endpoint, &config.region].into_iter().chain(&config.storage_types);
        if texts.flat_map(|text| text.chars()).any(char::is_control) {
            violations.push("endpoint", "or another text has characters that cannot be printed");
        }
        if engine.is_none() {
            violations.push("engine", "must be set");
        }
        let settings = read_settings(engine.unwrap_or_default(), &mut violations);
        violations.finish()?;
        Ok(Self { config, settings })
    }
}

/// Which location, and what is new in how its engine is reached.
struct Update {
    code: String,
    new: NewSettings,
}

impl TryFrom<pb::UpdateLocationRequest> for Update {
    type Error = Error;

    fn try_from(request: pb::UpdateLocationRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let code = violations.check("name", name::parse_location(&request.name));
        let paths = request.update_mask.unwrap_or_default().paths;
        if paths.is_empty() {
            violations.push("update_mask", "must name the fields to change");
        }
        let mut fields = Vec::new();
        for path in paths {
            match Field::named(&path) {
                Some(field) if fields.contains(&field) => {}
                Some(field) => fields.push(field),
                None => violations.push("update_mask", format!("has no such path: {path:?}")),
            }
        }
        let settings = read_settings(request.engine.unwrap_or_default(), &mut violations);
        let code = complete(code, violations)?;
        Ok(Self { code, new: NewSettings { settings, fields } })
    }
}

fn read_code(name: &str) -> Result<String, Error> {
    let mut violations = Violations::default();
    let code = violations.check("name", name::parse_location(name));
    complete(code, violations)
}

#[tonic::async_trait]
impl LocationService for Api {
    async fn get_location(
        &self,
        request: Request<pb::GetLocationRequest>,
    ) -> Result<Response<pb::Location>, Status> {
        let cx = RequestContext::of(&request)?;
        let mut violations = Violations::default();
        let code = violations.check("name", name::parse_location(&request.get_ref().name));
        let code = complete(code, violations)?;
        let location = self.0.storage.location(&cx, &code).await?;
        Ok(Response::new(location.into()))
    }

    async fn list_locations(
        &self,
        request: Request<pb::ListLocationsRequest>,
    ) -> Result<Response<pb::ListLocationsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let size = page::size(request.page_size, 50, 1000, &mut violations);
        let size = complete(Some(size), violations)?;
        let page = self.0.storage.locations(&cx, size, &request.page_token).await?;
        Ok(Response::new(pb::ListLocationsResponse {
            locations: page.locations.into_iter().map(pb::Location::from).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn add_location(
        &self,
        request: Request<pb::AddLocationRequest>,
    ) -> Result<Response<pb::Location>, Status> {
        let storage = &self.0.storage;
        let work = async |cx, new, once| storage.add_location(&cx, new, &once).await;
        storage.requests.once(request, NewLocation::try_from, work).await
    }

    async fn update_location(
        &self,
        request: Request<pb::UpdateLocationRequest>,
    ) -> Result<Response<pb::Location>, Status> {
        let storage = &self.0.storage;
        let work = async |cx, update: Update, once| {
            storage.update_location(&cx, (&update.code, update.new), &once).await
        };
        storage.requests.once(request, Update::try_from, work).await
    }

    async fn drain_location(
        &self,
        request: Request<pb::DrainLocationRequest>,
    ) -> Result<Response<pb::Location>, Status> {
        let storage = &self.0.storage;
        let read = |request: pb::DrainLocationRequest| read_code(&request.name);
        let work =
            async |cx, code: String, once| storage.set_drained(&cx, (&code, true), &once).await;
        storage.requests.once(request, read, work).await
    }

    async fn undrain_location(
        &self,
        request: Request<pb::UndrainLocationRequest>,
    ) -> Result<Response<pb::Location>, Status> {
        let storage = &self.0.storage;
        let read = |request: pb::UndrainLocationRequest| read_code(&request.name);
        let work =
            async |cx, code: String, once| storage.set_drained(&cx, (&code, false), &once).await;
        storage.requests.once(request, read, work).await
    }

    async fn remove_location(
        &self,
        request: Request<pb::RemoveLocationRequest>,
    ) -> Result<Response<pb::RemoveLocationResponse>, Status> {
        let storage = &self.0.storage;
        let read = |request: pb::RemoveLocationRequest| {
            Ok::<_, Error>((read_code(&request.name)?, request.abandon_usage))
        };
        let work = async |cx, (code, abandons): (String, bool), once| {
            storage.remove_location(&cx, (&code, abandons), &once).await
        };
        storage.requests.once(request, read, work).await
    }
}
