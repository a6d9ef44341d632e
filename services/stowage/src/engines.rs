//! The engines of this process, and the locations they are at.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use stowage_engine::Engine;
use stowage_engine_aws::{Aws, AwsOptions};
use stowage_engine_ceph::{Ceph, CephOptions};
use stowage_engine_embedded::{Embedded, EmbeddedConfig, OpenError};
use stowage_engine_garage::{Garage, GarageOptions};
use stowage_keyring::Keyring;
use stowage_runtime::{Protocols, ServerTls};
use stowage_storage::{LocationConfig, LocationState};
use stowage_storage_front::{Counts, Front, FrontOptions};
use tokio::net::TcpListener;

use crate::config::{Config, EngineKind, FrontSection, LocationSection, S3};
use crate::data::DataDir;
use crate::databases;
use crate::error::StartError;
use crate::listen::{FRONT, S3_ENDPOINT, address, listen, public_tls};
use crate::roles::{Common, part};
use crate::running::Running;

/// Code of the embedded engine's location.
pub(crate) const LOCATION: &str = "NL";
/// Its class of storage.
const STORAGE_TYPE: &str = "standard";

/// An engine, and the location it is at.
pub(crate) type Located = (LocationConfig, Arc<dyn Engine>);

/// What the role storage drives: engines, and what fronts have counted.
pub(crate) type Driven = (Vec<Located>, Vec<Arc<Counts>>);

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
    pub(crate) driven: Driven,
}

impl Engines {
    /// Opens the embedded engine, which listens at `s3`, and those that are other servers. No
    /// other server is asked anything: one that is away holds up its own accounts, not the start.
    pub(crate) async fn open(
        config: &Config,
        (data, s3): (Option<&DataDir>, Option<SocketAddr>),
        common: &Common,
        keyring: Arc<Keyring>,
    ) -> Result<Self, StartError> {
        let (mut embedded, mut located) = (None, Vec::<Located>::new());
        let (mut fronts, mut counts) = (BTreeMap::new(), Vec::new());
        if let Some((data, bound)) = data.zip(s3) {
            let engine = open_embedded(&config.s3, data, common, keyring).await?;
            located.push((location(&config.s3, bound), Arc::new(engine.clone())));
            embedded = Some(engine);
        }
        for (code, section) in &config.location {
            // Without a kind the configuration would not have passed its check.
            let Some(kind) = section.engine else { continue };
            let engine = open_other(kind, section, common)?;
            if let Some(front) = &section.front {
                let (clock, random) = (Arc::clone(&common.clock), &*common.random);
                let counted = Arc::new(Counts::new(code, Arc::clone(&engine), clock, random));
                fronts.insert(code.clone(), open_front(front, section, &counted)?);
                counts.push(counted);
            }
            located.push((section.location(code), engine));
        }
        Ok(Self { embedded, fronts, driven: (located, counts) })
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
    let (_, s3_endpoint) = section.endpoints();
    let options = FrontOptions {
        ca: section.ca.clone(),
        domain: front.domain.clone(),
        ..FrontOptions::new(s3_endpoint)
    };
    Front::new(options, Arc::clone(counts)).map_err(|error| part("a front", error))
}

/// An engine that is another server.
fn open_other(
    kind: EngineKind,
    section: &LocationSection,
    common: &Common,
) -> Result<Arc<dyn Engine>, StartError> {
    let engine = match kind {
        EngineKind::Garage => open_garage(section, common)?,
        EngineKind::CephRgw => open_ceph(section, common)?,
        EngineKind::Aws => open_aws(section, common)?,
    };
    engine.map_err(|error| part("the engine of a location", error))
}

type Opened = Result<Arc<dyn Engine>, stowage_engine_ceph::OpenError>;

fn open_ceph(section: &LocationSection, common: &Common) -> Result<Opened, StartError> {
    let (admin_endpoint, s3_endpoint) = section.endpoints();
    let access_key = section.access_key.clone().unwrap_or_default();
    let options = CephOptions {
        s3_endpoint,
        region: section.region.clone(),
        ca: section.ca.clone(),
        marker: section.marker.clone(),
        ..CephOptions::new(&admin_endpoint, &access_key, section.secret_key()?)
    };
    let (clock, random) = (Arc::clone(&common.clock), Arc::clone(&common.random));
    Ok(Ceph::new(options, clock, random).map(|engine| Arc::new(engine) as Arc<dyn Engine>))
}

fn open_garage(section: &LocationSection, common: &Common) -> Result<Opened, StartError> {
    let (admin_endpoint, s3_endpoint) = section.endpoints();
    let options = GarageOptions {
        region: section.region.clone(),
        ca: section.ca.clone(),
        marker: section.marker.clone(),
        ..GarageOptions::new(&admin_endpoint, &s3_endpoint, section.admin_token()?)
    };
    let (clock, random) = (Arc::clone(&common.clock), Arc::clone(&common.random));
    Ok(Garage::new(options, clock, random).map(|engine| Arc::new(engine) as Arc<dyn Engine>))
}

fn open_aws(section: &LocationSection, common: &Common) -> Result<Opened, StartError> {
    let (_, s3_endpoint) = section.endpoints();
    let access_key = section.access_key.clone().unwrap_or_default();
    let (region, secret) = (section.region.as_str(), section.secret_key()?);
    let mut options = AwsOptions::new(&s3_endpoint, region, &access_key, secret);
    if let Some(iam_endpoint) = &section.iam_endpoint {
        options.iam_endpoint.clone_from(iam_endpoint);
    }
    options.ca.clone_from(&section.ca);
    options.marker.clone_from(&section.marker);
    let (clock, random) = (Arc::clone(&common.clock), Arc::clone(&common.random));
    Ok(Aws::new(options, clock, random).map(|engine| Arc::new(engine) as Arc<dyn Engine>))
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
