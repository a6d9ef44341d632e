//! The engines of this process, and the locations they are at.

use std::net::SocketAddr;
use std::sync::Arc;

use stowage_engine::Engine;
use stowage_engine_ceph::{Ceph, CephOptions};
use stowage_engine_embedded::{Embedded, EmbeddedConfig, OpenError};
use stowage_engine_garage::{Garage, GarageOptions};
use stowage_keyring::Keyring;
use stowage_runtime::{Protocols, ServerTls};
use stowage_storage::{LocationConfig, LocationState};
use tokio::net::TcpListener;

use crate::config::{Config, EngineKind, LocationSection, S3};
use crate::data::DataDir;
use crate::databases;
use crate::error::StartError;
use crate::listen::{S3_ENDPOINT, address, listen, public_tls};
use crate::roles::{Common, part};
use crate::running::Running;

/// Code of the embedded engine's location.
pub(crate) const LOCATION: &str = "NL";
/// Its class of storage.
const STORAGE_TYPE: &str = "standard";

/// An engine, and the location it is at.
pub(crate) type Located = (LocationConfig, Arc<dyn Engine>);

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

/// The engines of a process.
pub(crate) struct Engines {
    embedded: Option<Embedded>,
    pub(crate) located: Vec<Located>,
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
        if let Some((data, bound)) = data.zip(s3) {
            let engine = open_embedded(&config.s3, data, common, keyring).await?;
            located.push((location(&config.s3, bound), Arc::new(engine.clone())));
            embedded = Some(engine);
        }
        for (code, section) in &config.location {
            // Without a kind the configuration would not have passed its check.
            let Some(kind) = section.engine else { continue };
            located.push((section.location(code), open_other(kind, section, common)?));
        }
        Ok(Self { embedded, located })
    }

    /// Serves the embedded engine at its port.
    pub(crate) fn serve(self, port: Option<S3Port>, running: &mut Running) {
        if let Some((engine, S3Port { listener, tls, .. })) = self.embedded.zip(port) {
            running.serve("s3", |stop| engine.serve(listener, tls, stop));
        }
    }
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
