//! The billing provider that the configuration names.

use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use stowage_billing::{Config, ProviderKind, ProviderMemory, Whmcs as Installation};
use stowage_db::Db;
use stowage_provider::Provider;
use stowage_provider_ledger::Ledger;
use stowage_provider_whmcs::{Ending, Memory, NAME, Product, Whmcs, WhmcsOptions};
use stowage_types::Clock;

use crate::data::read_secret;
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
            let memory = ProviderMemory::new(db.clone(), Arc::clone(&clock), NAME);
            let memory = Arc::new(memory);
            let memory = Memory { links: memory.clone(), keys: memory };
            let random = Arc::clone(&common.random);
            let opened = Whmcs::new(options(installation)?, memory, clock, random);
            Ok(Arc::new(opened.map_err(|error| part("billing", error))?))
        }
        // Without its settings the role itself refuses to be built.
        _ => {
            let terms = (config.invoice_due_after(), config.payment_terms());
            Ok(Arc::new(Ledger::new(db.clone(), clock, terms)))
        }
    }
}

fn options(installation: &Installation) -> Result<WhmcsOptions, StartError> {
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

/// The secret in a file, which must be there.
pub(crate) fn secret_in(file: &Path) -> Result<SecretString, StartError> {
    let missing = || StartError::Secret { path: file.to_owned(), why: "is missing".to_owned() };
    read_secret(file)?.ok_or_else(missing)
}
