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
    /// Which of its settings are open, of a location that was added; `None`: it is configured.
    pub(crate) generation: Option<i64>,
    /// Held while usage is collected, so that the timer and a caller do not read the same twice.
    pub(crate) collecting: tokio::sync::Mutex<()>,
}

impl Site {
    pub(crate) fn configured(code: &str, engine: &Arc<dyn Engine>) -> Self {
        let engine = Traced::engine(Arc::clone(engine), code);
        let collecting = tokio::sync::Mutex::default();
        Self { code: code.to_owned(), engine, generation: None, collecting }
    }

    pub(crate) fn added(code: &str, engine: &Arc<dyn Engine>, generation: i64) -> Self {
        Self { generation: Some(generation), ..Self::configured(code, engine) }
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

    /// Takes a site of an added location, unless one with the same settings, or later ones, is
    /// there; answers the one that is there then.
    pub(crate) fn put(&self, site: Site) -> Arc<Site> {
        let mut sites = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // What is configured has none, and stays.
        let is_older =
            |known: &Arc<Site>| known.generation.is_some_and(|of| Some(of) < site.generation);
        if let Some(known) = sites.get(&site.code).filter(|known| !is_older(known)) {
            return Arc::clone(known);
        }
        let site = Arc::new(site);
        Arc::make_mut(&mut sites).insert(site.code.clone(), Arc::clone(&site));
        site
    }

    /// Lets go of a site, unless another has taken its place.
    pub(crate) fn close(&self, site: &Arc<Site>) {
        let mut sites = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if sites.get(&site.code).is_some_and(|known| Arc::ptr_eq(known, site)) {
            Arc::make_mut(&mut sites).remove(&site.code);
        }
    }
}
