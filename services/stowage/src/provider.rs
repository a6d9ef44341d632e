//! The billing provider that the configuration names.

use std::sync::Arc;

use stowage_billing::{Config, ProviderKind, ProviderMemory, Whmcs as Settings};
use stowage_db::Db;
use stowage_provider::Provider;
use stowage_provider_ledger::Ledger;
use stowage_provider_whmcs::{
    Ending, Installation, Installations, Memory, NAME, Product, Whmcs, WhmcsOptions,
};
use stowage_types::Clock;

use crate::data::secret_in;
use crate::error::StartError;
use crate::roles::{Common, part};

/// Opens the provider over `db`, billing's database. Nothing is asked of another system yet.
pub(crate) fn of(
    config: &Config,
    common: &Common,
    db: &Db,
) -> Result<Arc<dyn Provider>, StartError> {
    let clock: Arc<dyn Clock> = Arc::clone(&common.clock);
    match (config.provider, &config.whmcs) {
        (ProviderKind::Whmcs, Some(installation)) => {
            let mut all = vec![open("", installation, common, db)?];
            for (name, other) in &config.whmcs_at {
                all.push(open(name, other, common, db)?);
            }
            let opened = Installations::new(all);
            Ok(Arc::new(opened.map_err(|error| part("billing", error))?))
        }
        // Without its settings the role itself refuses to be built.
        _ => {
            let terms = (config.invoice_due_after(), config.payment_terms());
            Ok(Arc::new(Ledger::new(db.clone(), clock, terms)))
        }
    }
}

/// One installation; the empty name is that of the first.
fn open(
    name: &str,
    settings: &Settings,
    common: &Common,
    db: &Db,
) -> Result<Installation, StartError> {
    let clock: Arc<dyn Clock> = Arc::clone(&common.clock);
    let links = if name.is_empty() { NAME } else { name };
    let memory = Arc::new(ProviderMemory::new(db.clone(), Arc::clone(&clock), links));
    let memory = Memory { links: memory.clone(), keys: memory };
    let opened = Whmcs::new(options(settings)?, memory, clock, Arc::clone(&common.random));
    Ok(Installation {
        name: name.to_owned(),
        number: settings.number,
        locations: settings.locations.clone(),
        provider: Arc::new(opened.map_err(|error| part("billing", error))?),
    })
}

fn options(installation: &Settings) -> Result<WhmcsOptions, StartError> {
    let mut products = std::collections::BTreeMap::new();
    for (plan, id) in &installation.products {
        let plan = plan.parse().map_err(|error| part("billing.whmcs.products", error))?;
        let overrides_price = installation.overrides_price;
        products.insert(plan, Product { id: *id, overrides_price });
    }
    let secret = secret_in(&installation.secret_file)?;
    let who = (installation.identifier.as_str(), secret);
    let mut options =
        WhmcsOptions::new(&installation.url, who, &installation.payment_method, products);
    options.access_key = installation.access_key_file.as_deref().map(secret_in).transpose()?;
    options.hook_secret = installation.hook_secret_file.as_deref().map(secret_in).transpose()?;
    options.ca.clone_from(&installation.ca);
    options.mirror_ends = installation.mirror_ends;
    options.calls_per_second = installation.calls_per_second;
    if installation.module_terminate {
        options.ending = Ending::ModuleTerminate;
    }
    Ok(options)
}
