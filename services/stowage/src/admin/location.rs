//! `stowage admin location …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use stowage_proto::billing::ListPlansRequest;
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::storage::location_service_client::LocationServiceClient;
use stowage_proto::storage::{
    AddLocationRequest, DrainLocationRequest, EngineSettings, ListLocationsRequest, Location,
    RemoveLocationRequest, UndrainLocationRequest, UpdateLocationRequest,
};
use stowage_types::{ExposeSecret as _, name};

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session, secret};

const FLAGS: Flags = &[
    ("code", "CODE"),
    ("name", "CODE"),
    ("endpoint", "--endpoint"),
    ("region", "--region"),
    ("storage_types", "--storage-type"),
    ("engine", "--engine"),
    ("engine.admin_endpoint", "--admin-endpoint"),
    ("engine.s3_endpoint", "--s3-endpoint"),
    ("engine.iam_endpoint", "--iam-endpoint"),
    ("engine.access_key", "--access-key"),
    ("engine.secret_key", SECRET_KEY_FILE),
    ("engine.admin_token", ADMIN_TOKEN_FILE),
    ("engine.ca_pem", CA_FILE),
    ("engine.marker", "--marker"),
    ("update_mask", "what to change"),
];

const SECRET_KEY_FILE: &str = "--secret-key-file";
const ADMIN_TOKEN_FILE: &str = "--admin-token-file";
const CA_FILE: &str = "--ca-file";

/// How many plans of a location are named.
const PLANS_MAX: u32 = 20;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List locations by code
    List(Limit),
    /// Add a location whose engine is another server; the server is asked first
    Add(Add),
    /// Change how the engine of an added location is reached, such as a key that was renewed
    Update(Update),
    /// Let a location keep its accounts and take no new ones, until `undrain`
    Drain {
        /// Its code
        code: String,
    },
    /// Let a drained location take orders again
    Undrain {
        /// Its code
        code: String,
    },
    /// Remove a location in which there is nothing any more
    Remove {
        /// Its code
        code: String,
        /// Give up what the engine has counted last: for a server that is gone for good
        #[arg(long)]
        abandon_usage: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Two to sixteen capital letters, digits and dashes, such as DE
    code: String,
    /// What kind of server it is: ceph-rgw, garage or aws
    #[arg(long, value_name = "KIND")]
    engine: String,
    /// URL that customers reach S3 at
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// Region that S3 clients sign for [default: us-east-1]
    #[arg(long, default_value = "", hide_default_value = true)]
    region: String,
    /// A class of storage it offers; may be repeated [default: standard]
    #[arg(long = "storage-type", value_name = "CLASS")]
    storage_types: Vec<String>,
    /// Marks our users there: another for each installation on one server [default: stowage]
    #[arg(long, default_value = "", hide_default_value = true)]
    marker: String,
    #[command(flatten)]
    reached: Reached,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// Its code
    code: String,
    #[command(flatten)]
    reached: Reached,
}

/// How an engine is reached. An address that is empty is the endpoint.
#[derive(Debug, Args)]
struct Reached {
    /// URL of its administration [default: the endpoint]
    #[arg(long, value_name = "URL")]
    admin_endpoint: Option<String>,
    /// URL at which the server reaches S3 [default: the endpoint]
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,
    /// URL of IAM, of an aws [default: https://iam.amazonaws.com]
    #[arg(long, value_name = "URL")]
    iam_endpoint: Option<String>,
    /// Access key of its administrator, of a ceph-rgw or aws
    #[arg(long, value_name = "KEY")]
    access_key: Option<String>,
    /// File of the secret of that key, which nobody else may read; `-`: standard input
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
    /// File of the token of its administration, of a garage; `-`: standard input
    #[arg(long, value_name = "FILE", conflicts_with = "secret_key_file")]
    admin_token_file: Option<PathBuf>,
    /// File of the authority that has signed its certificate, in PEM [default: those of the
    /// server's system]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Reached {
    /// The settings that are named, and their paths.
    fn read(self) -> Result<(EngineSettings, Vec<String>), Error> {
        let secret = |flag, path: &Option<PathBuf>| {
            let read = secret::read(flag, path.as_ref())?;
            Ok::<_, Error>(read.map(|secret| secret.expose_secret().to_owned()))
        };
        let texts = [
            ("admin_endpoint", self.admin_endpoint),
            ("s3_endpoint", self.s3_endpoint),
            ("iam_endpoint", self.iam_endpoint),
            ("access_key", self.access_key),
            ("secret_key", secret(SECRET_KEY_FILE, &self.secret_key_file)?),
            ("admin_token", secret(ADMIN_TOKEN_FILE, &self.admin_token_file)?),
            ("ca_pem", secret::read_text(CA_FILE, self.ca_file.as_ref())?),
        ];
        let named = texts.iter().filter(|(_, text)| text.is_some());
        let paths = named.map(|(path, _)| (*path).to_owned()).collect();
        let [
            admin_endpoint,
            s3_endpoint,
            iam_endpoint,
            access_key,
            secret_key,
            admin_token,
            ca_pem,
        ] = texts.map(|(_, text)| text.unwrap_or_default());
        let settings = EngineSettings {
            admin_endpoint,
            s3_endpoint,
            iam_endpoint,
            access_key,
            secret_key,
            admin_token,
            ca_pem,
            ..EngineSettings::default()
        };
        Ok((settings, paths))
    }
}

#[derive(Serialize)]
struct LocationRow {
    code: String,
    engine: String,
    endpoint: String,
    region: String,
    storage_types: Vec<String>,
    state: String,
    origin: String,
}

#[derive(Serialize)]
struct RemovedRow {
    code: String,
    removed: bool,
}

impl From<Location> for LocationRow {
    fn from(location: Location) -> Self {
        let state = output::value(location.state().as_str_name(), "LOCATION_STATE_");
        let origin = output::value(location.origin().as_str_name(), "LOCATION_ORIGIN_");
        Self {
            code: location.code,
            engine: location.engine,
            endpoint: location.endpoint,
            region: location.region,
            storage_types: location.storage_types,
            state,
            origin,
        }
    }
}

impl Row for LocationRow {
    const COLUMNS: &'static [&'static str] =
        &["CODE", "ENGINE", "ENDPOINT", "REGION", "STORAGE", "STATE", "ORIGIN"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.code.clone(),
            self.engine.clone(),
            self.endpoint.clone(),
            self.region.clone(),
            self.storage_types.join(","),
            self.state.clone(),
            self.origin.clone(),
        ]
    }
}

impl Row for RemovedRow {
    const COLUMNS: &'static [&'static str] = &["CODE", "REMOVED"];

    fn cells(&self) -> Vec<String> {
        vec![self.code.clone(), "yes".to_owned()]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let answer = match command {
        Command::List(limit) => return list(limit, session).await,
        Command::Remove { code, abandon_usage } => {
            return remove(code, abandon_usage, session).await;
        }
        Command::Add(add) => {
            let request = add.request()?;
            let call = async |api, request_id| {
                let request = AddLocationRequest { request_id, ..request.clone() };
                LocationServiceClient::new(api).add_location(request).await
            };
            session.client.change(call).await
        }
        Command::Update(update) => {
            let request = update.request()?;
            let call = async |api, request_id| {
                let request = UpdateLocationRequest { request_id, ..request.clone() };
                LocationServiceClient::new(api).update_location(request).await
            };
            session.client.change(call).await
        }
        Command::Drain { code } => {
            let call = async |api, request_id| {
                let request = DrainLocationRequest { name: name::location(&code), request_id };
                LocationServiceClient::new(api).drain_location(request).await
            };
            let drained = session.client.change(call).await;
            if drained.is_ok() {
                tell_plans(session, &code, "whoever orders them is refused").await;
            }
            drained
        }
        Command::Undrain { code } => {
            let call = async |api, request_id| {
                let request = UndrainLocationRequest { name: name::location(&code), request_id };
                LocationServiceClient::new(api).undrain_location(request).await
            };
            session.client.change(call).await
        }
    };
    let location = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
    output::one(session.output, &LocationRow::from(location))
}

impl Add {
    fn request(self) -> Result<AddLocationRequest, Error> {
        let (settings, _) = self.reached.read()?;
        let engine = if self.engine == "ceph" { "ceph-rgw".to_owned() } else { self.engine };
        Ok(AddLocationRequest {
            code: self.code,
            endpoint: self.endpoint,
            region: self.region,
            storage_types: self.storage_types,
            engine: Some(EngineSettings { engine, marker: self.marker, ..settings }),
            request_id: String::new(),
        })
    }
}

impl Update {
    fn request(self) -> Result<UpdateLocationRequest, Error> {
        let (settings, paths) = self.reached.read()?;
        if paths.is_empty() {
            let why = "name at least one thing to change, such as --secret-key-file";
            return Err(Error::Usage(why.to_owned()));
        }
        Ok(UpdateLocationRequest {
            name: name::location(&self.code),
            engine: Some(settings),
            update_mask: Some(prost_types::FieldMask { paths }),
            request_id: String::new(),
        })
    }
}

async fn list(limit: Limit, session: &Session) -> Result<(), Error> {
    let locations = LocationServiceClient::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let request = ListLocationsRequest { page_size, page_token };
        let page = locations.clone().list_locations(request).await?.into_inner();
        Ok((page.locations, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, &[]))?;
    let rows: Vec<LocationRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}

async fn remove(code: String, abandon_usage: bool, session: &Session) -> Result<(), Error> {
    let call = async |api, request_id| {
        let name = name::location(&code);
        let request = RemoveLocationRequest { name, abandon_usage, request_id };
        LocationServiceClient::new(api).remove_location(request).await
    };
    let removed = session.client.change(call).await;
    removed.map_err(|status| session.client.explain(&status, FLAGS))?;
    tell_plans(session, &code, "nobody can order them").await;
    output::one(session.output, &RemovedRow { code, removed: true })
}

/// Names the plans that are sold there still, for people: billing knows nothing of locations. That
/// they cannot be read is no failure of what was done.
async fn tell_plans(session: &Session, code: &str, what: &str) {
    let plans = PlanServiceClient::new(session.client.api());
    let found = pages(Limit { limit: PLANS_MAX }, async |page_size, page_token| {
        let location = name::location(code);
        let request = ListPlansRequest { page_size, page_token, location };
        let page = plans.clone().list_plans(request).await?.into_inner();
        Ok((page.plans, page.next_page_token))
    });
    let sold = found.await.unwrap_or_default().into_iter().filter(|plan| plan.active);
    let ids: Vec<String> = sold.map(|plan| plan.plan_id.to_string()).collect();
    if !ids.is_empty() {
        let ids = ids.join(", ");
        eprintln!("plans are offered there still, and {what}: {ids}; see `plan archive`");
    }
}
