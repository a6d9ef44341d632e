//! The engines of this process, and the locations they are at.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use stowage_engine::Engine;
use stowage_engine_embedded::{Embedded, EmbeddedConfig, OpenError};
use stowage_keyring::Keyring;
use stowage_runtime::{Protocols, ServerTls};
use stowage_storage::{EngineOpener, LocationConfig, LocationState};
use stowage_storage_front::{Counts, Front, FrontOptions};
use tokio::net::TcpListener;

use crate::config::{Config, FrontSection, LocationSection, S3};
use crate::data::DataDir;
use crate::databases;
use crate::error::StartError;
use crate::listen::{FRONT, S3_ENDPOINT, address, listen, public_tls};
use crate::opener::Opener;
use crate::roles::{Common, part};
use crate::running::Running;

/// Code of the embedded engine's location.
pub(crate) const LOCATION: &str = "NL";
/// Its class of storage.
const STORAGE_TYPE: &str = "standard";

/// An engine, and the location it is at.
pub(crate) type Located = (LocationConfig, Arc<dyn Engine>);

/// What the role storage drives.
pub(crate) struct Driven {
    pub(crate) engines: Vec<Located>,
    /// What fronts have counted.
    pub(crate) fronts: Vec<Arc<Counts>>,
    /// Opens the engines of locations that are added later.
    pub(crate) opener: Arc<dyn EngineOpener>,
    pub(crate) keyring: Arc<Keyring>,
}

/// The port of the embedded engine.
pub(crate) struct S3Port {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<Arc<ServerTls>>,
}

impl S3Port {
    /// Binds it, if there is to be an embedded engine.
    pub(crate) async fn bind(s3: &S3) -> Result<Option<Self>, StartError> {
        if !s3.enabled {
            return Ok(None);
        }
        let tls = public_tls(s3.identity(), Protocols::Http1)?;
        let listener = listen(&S3_ENDPOINT, s3.addr).await?;
        Ok(Some(Self { addr: address(&listener)?, listener, tls }))
    }

    /// Where it is.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The port of a metering front.
struct FrontPort {
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
}

/// The ports of a process that has the role storage.
pub(crate) struct StoragePorts {
    pub(crate) s3: Option<S3Port>,
    /// By location.
    fronts: BTreeMap<String, FrontPort>,
}

impl StoragePorts {
    /// Binds them.
    pub(crate) async fn bind(config: &Config) -> Result<Self, StartError> {
        let (s3, mut fronts) = (S3Port::bind(&config.s3).await?, BTreeMap::new());
        for (code, section) in &config.location {
            let Some((front, addr)) = section.front.as_ref().and_then(|f| Some((f, f.addr?)))
            else {
                continue;
            };
            let tls = public_tls(front.identity(), Protocols::Http1)?;
            let listener = listen(&FRONT, addr).await?;
            fronts.insert(code.clone(), FrontPort { listener, tls });
        }
        Ok(Self { s3, fronts })
    }

    /// Where the embedded engine is, if there is one.
    pub(crate) fn s3_addr(&self) -> Option<SocketAddr> {
        self.s3.as_ref().map(S3Port::addr)
    }
}

/// The engines of a process.
pub(crate) struct Engines {
    embedded: Option<Embedded>,
    /// By location.
    fronts: BTreeMap<String, Front>,
}

impl Engines {
    /// Opens the embedded engine, which listens at `s3`, and those that are other servers. No
    /// other server is asked anything: one that is away holds up its own accounts, not the start.
    pub(crate) async fn open(
        config: &Config,
        (data, s3): (Option<&DataDir>, Option<SocketAddr>),
        common: &Common,
        keyring: Arc<Keyring>,
    ) -> Result<(Self, Driven), StartError> {
        let opener = Opener::new(common, config.location.iter());
        let (mut embedded, mut located) = (None, Vec::<Located>::new());
        let (mut fronts, mut counts) = (BTreeMap::new(), Vec::new());
        if let Some((data, bound)) = data.zip(s3) {
            let engine = open_embedded(&config.s3, data, common, Arc::clone(&keyring)).await?;
            located.push((location(&config.s3, bound), Arc::new(engine.clone())));
            embedded = Some(engine);
        }
        for (code, section) in &config.location {
            // Without a kind the configuration would not have passed its check.
            let Some((kind, settings)) = section.engine.zip(section.settings()?) else { continue };
            let (location, ca) = (section.location(code), section.ca.clone().into());
            let engine = opener.make(kind, (&location, &settings), ca);
            let engine = engine.map_err(|error| part("the engine of a location", error))?;
            if let Some(front) = &section.front {
                let (clock, random) = (Arc::clone(&common.clock), &*common.random);
                let counted = Arc::new(Counts::new(code, Arc::clone(&engine), clock, random));
                fronts.insert(code.clone(), open_front(front, section, &counted)?);
                counts.push(counted);
            }
            located.push((location, engine));
        }
        let opener = Arc::new(opener);
        let driven = Driven { engines: located, fronts: counts, opener, keyring };
        Ok((Self { embedded, fronts }, driven))
    }

    /// Serves the embedded engine and the fronts at their ports.
    pub(crate) fn serve(self, ports: StoragePorts, running: &mut Running) {
        if let Some((engine, S3Port { listener, tls, .. })) = self.embedded.zip(ports.s3) {
            running.serve("s3", |stop| engine.serve(listener, tls, stop));
        }
        let mut fronts = self.fronts;
        for (code, FrontPort { listener, tls }) in ports.fronts {
            let Some(front) = fronts.remove(&code) else { continue };
            running.serve("front", |stop| front.serve(listener, tls, stop));
        }
    }
}

/// A front before the engine of a location.
fn open_front(
    front: &FrontSection,
    section: &LocationSection,
    counts: &Arc<Counts>,
) -> Result<Front, StartError> {
    // The check of the configuration sees to it that there is one.
    let s3_endpoint = section.s3_endpoint.clone().unwrap_or_default();
    let options = FrontOptions {
        ca: section.ca.clone(),
        domain: front.domain.clone(),
        ..FrontOptions::new(s3_endpoint)
    };
    Front::new(options, Arc::clone(counts)).map_err(|error| part("a front", error))
}

async fn open_embedded(
    s3: &S3,
    data: &DataDir,
    common: &Common,
    keyring: Arc<Keyring>,
) -> Result<Embedded, StartError> {
    let config = EmbeddedConfig::new(data.engine(), &s3.region);
    let (clock, random) = (Arc::clone(&common.clock), Arc::clone(&common.random));
    Embedded::open(config, keyring, clock, random).await.map_err(|error| match error {
        OpenError::Index(source) => databases::refused(source),
        other => part("the embedded engine", other),
    })
}

/// The location of the engine on local disk, which listens at `bound`.
fn location(s3: &S3, bound: SocketAddr) -> LocationConfig {
    LocationConfig {
        code: LOCATION.to_owned(),
        endpoint: s3.public_endpoint(bound),
        region: s3.region.clone(),
        storage_types: vec![STORAGE_TYPE.to_owned()],
        state: LocationState::Open,
    }
}
