//! Servers that engines can be added for, in memory, and the master keys of tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stowage_engine::Engine;
use stowage_keyring::{Keyring, Rules, Source};
use stowage_storage::{EngineOpener, EngineSettings, LocationConfig};
use stowage_types::{ExposeSecret as _, SecretString, SystemClock, SystemRandom, Violations};

use crate::engine::Memory;

/// What every server takes until it is told otherwise. Long enough to be found where it should
/// not be.
pub(crate) const SECRET: &str = "the-secret-of-a-server-in-memory";

#[derive(Debug, Clone)]
struct Server {
    engine: Arc<Memory>,
    secret: String,
}

/// Servers by the address of their administration. All processes of a test see the same.
#[derive(Debug, Default)]
pub(crate) struct Servers(Mutex<BTreeMap<String, Server>>);

impl Servers {
    /// Starts one.
    pub(crate) fn start(&self, address: &str) -> Arc<Memory> {
        let engine = Arc::new(Memory::default());
        let server = Server { engine: Arc::clone(&engine), secret: SECRET.to_owned() };
        self.0.lock().unwrap().insert(address.to_owned(), server);
        engine
    }

    /// Lets it take another secret from now on.
    pub(crate) fn renew_secret(&self, address: &str, secret: &str) {
        self.0.lock().unwrap().get_mut(address).unwrap().secret = secret.to_owned();
    }

    fn at(&self, location: &LocationConfig, settings: &EngineSettings) -> Option<(Server, bool)> {
        let address = settings.admin_of(&location.endpoint);
        let server = self.0.lock().unwrap().get(address).cloned()?;
        let given = settings.secret_key.as_ref().map(|secret| secret.expose_secret().to_owned());
        let is_known = given.as_deref() == Some(server.secret.as_str());
        Some((server, is_known))
    }
}

#[async_trait]
impl EngineOpener for Servers {
    fn open(
        &self,
        location: &LocationConfig,
        settings: &EngineSettings,
    ) -> Result<Arc<dyn Engine>, Violations> {
        if settings.engine != "memory" {
            return Err(Violations::of("engine.engine", "is none of those there are: memory"));
        }
        if let Some((server, true)) = self.at(location, settings) {
            return Ok(server.engine);
        }
        let nobody = Memory::default();
        nobody.set_down(true);
        Ok(Arc::new(nobody))
    }

    async fn try_out(
        &self,
        location: &LocationConfig,
        settings: &EngineSettings,
        _: &dyn Engine,
    ) -> Result<(), Violations> {
        match self.at(location, settings) {
            Some((_, true)) => Ok(()),
            Some((_, false)) => Err(Violations::of("engine.secret_key", "is refused")),
            None => Err(Violations::of("engine.admin_endpoint", "does not answer")),
        }
    }

    fn find_configured(&self, _: &LocationConfig, settings: &EngineSettings) -> Option<String> {
        let is_configured = settings.admin_endpoint.as_deref() == Some("http://configured.test");
        is_configured.then(|| "NL".to_owned())
    }
}

/// Master keys with so many versions. All of them are in use; the last one seals.
pub(crate) fn keyring(versions: u32) -> Arc<Keyring> {
    let line = |version: u32| format!("{version} {}\n", version.to_string().repeat(64));
    let text: String = (1..=versions).map(line).collect();
    let source = Source::Text(SecretString::from(text));
    let opened =
        Keyring::open_source(source, Rules::default(), Arc::new(SystemClock), &SystemRandom);
    Arc::new(opened.unwrap())
}
