//! `stowage ready`: asks a part whether it can serve, for those who start and watch containers.

use std::process::ExitCode;

use stowage_runtime::remote_ready;
use tokio::runtime::Builder;

use crate::config::{Config, Environment, reachable};
use crate::error::StartError;
use crate::fail;
use crate::listen::{caller_tls, peer};
use crate::single::Part;

/// Exit code 0: it can; 1: it cannot, or is not there.
pub(crate) fn run(environment: &Environment, part: Part) -> ExitCode {
    let config = match Config::load(environment) {
        Ok(config) => config,
        Err(faults) => return fail(2, &faults),
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    match runtime.block_on(ask(&config, part)) {
        Ok(Ok(())) => {
            println!("{} is ready", part.name());
            ExitCode::SUCCESS
        }
        Ok(Err(why)) => fail(1, &format!("{} is not ready: {why}", part.name())),
        Err(error) => fail(error.exit_code(), &error),
    }
}

async fn ask(config: &Config, part: Part) -> Result<Result<(), String>, StartError> {
    let has_tls = config.tls.identity().is_some();
    let urls = match part {
        Part::Accounts => config.accounts.urls(has_tls),
        Part::Storage => config.storage.urls(has_tls),
        Part::Billing => config.billing.urls(has_tls),
        Part::Metering => config.metering.urls(has_tls),
        Part::Gateway => {
            let scheme = if config.gateway.identity().is_some() { "https" } else { "http" };
            vec![format!("{scheme}://{}", reachable(config.gateway.addr))]
        }
    };
    let channel = peer(&urls, caller_tls(&config.tls)?.as_ref())?;
    Ok(remote_ready(channel)().await)
}
