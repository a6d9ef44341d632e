//! The locations that this process drives.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use stowage_engine::{Engine, Traced};

/// A location this process drives.
#[derive(Debug)]
pub(crate) struct Site {
    /// Code of the location.
    pub(crate) code: String,
    /// Its engine.
    pub(crate) engine: Arc<dyn Engine>,
    /// Held while usage is collected, so that the timer and a caller do not read the same twice.
    pub(crate) collecting: tokio::sync::Mutex<()>,
}

impl Site {
    pub(crate) fn new(code: &str, engine: &Arc<dyn Engine>) -> Self {
        let engine = Traced::engine(Arc::clone(engine), code);
        Self { code: code.to_owned(), engine, collecting: tokio::sync::Mutex::default() }
    }
}

type ByCode = BTreeMap<String, Arc<Site>>;

/// All of them, by code. They come and go while the process runs; who works at one keeps it.
#[derive(Debug, Default)]
pub(crate) struct Sites(RwLock<Arc<ByCode>>);

impl Sites {
    pub(crate) fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let by_code = sites.into_iter().map(|site| (site.code.clone(), Arc::new(site)));
        Self(RwLock::new(Arc::new(by_code.collect())))
    }

    /// All of this moment.
    pub(crate) fn all(&self) -> Arc<ByCode> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self, code: &str) -> Option<Arc<Site>> {
        self.all().get(code).cloned()
    }
}
