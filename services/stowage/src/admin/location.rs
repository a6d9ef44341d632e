//! `stowage admin location …`.

use clap::Subcommand;
use serde::Serialize;
use stowage_proto::storage::location_service_client::LocationServiceClient;
use stowage_proto::storage::{ListLocationsRequest, Location};

use super::client::pages;
use super::output::{self, Row};
use super::{Error, Limit, Session};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List locations by code
    List(Limit),
}

#[derive(Serialize)]
struct LocationRow {
    code: String,
    engine: String,
    endpoint: String,
    region: String,
    storage_types: Vec<String>,
    state: String,
}

impl From<Location> for LocationRow {
    fn from(location: Location) -> Self {
        let state = output::value(location.state().as_str_name(), "LOCATION_STATE_");
        Self {
            code: location.code,
            engine: location.engine,
            endpoint: location.endpoint,
            region: location.region,
            storage_types: location.storage_types,
            state,
        }
    }
}

impl Row for LocationRow {
    const COLUMNS: &'static [&'static str] =
        &["CODE", "ENGINE", "ENDPOINT", "REGION", "STORAGE", "STATE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.code.clone(),
            self.engine.clone(),
            self.endpoint.clone(),
            self.region.clone(),
            self.storage_types.join(","),
            self.state.clone(),
        ]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let Command::List(limit) = command;
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
