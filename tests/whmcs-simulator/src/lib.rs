//! A WHMCS that is none: it speaks its remote API, keeps state, and can be told to misbehave.
//!
//! What it answers is what WHMCS' documentation and its clients in the field say, quirks and all:
//! ids and money as texts here and as numbers there, lists wrapped twice, `""` for a list of
//! nothing, errors under status 200, `0000-00-00` for no date. Where these say nothing, it does
//! what is hardest for a client. Money is kept in whole minor units.
//!
//! It is not WHMCS: no cron runs, no module does anything, no tax is reckoned, and of texts that
//! are written nowhere it says some of its own.

#![deny(clippy::float_arithmetic)]

mod actions;
mod answer;
mod cents;
mod form;
pub mod php;
mod server;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod trouble;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stowage_types::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use cents::Cents;
pub use settings::Settings;
pub use state::{
    BillableItem, CancelRequest, Client, Credit, Currency, Invoice, Item, Order, Product, Service,
    State, Transaction,
};
pub use trouble::{Chances, Trouble};

/// What all connections share.
struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    troubles: Mutex<trouble::Troubles>,
}

/// A running simulator; it ends when this is dropped.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Simulator {
    /// Starts one on a free port of this machine.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self::start_at("127.0.0.1:0", settings, clock).await.expect("a free port")
    }

    /// Starts one at an address.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub async fn start_at(
        address: &str,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (state, troubles) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { settings, clock, state, troubles });
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, serving })
    }

    /// Where it is installed: `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds, to look at and to change. Calls wait meanwhile.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// The next calls meet these, in order, whatever they are.
    pub fn will(&self, troubles: &[Option<Trouble>]) {
        self.shared.troubles().next.extend(troubles.iter().copied());
    }

    /// The next call of an action meets this.
    pub fn will_for(&self, action: &str, trouble: Trouble) {
        self.shared.troubles().by_action.push((action.to_lowercase(), trouble));
    }

    /// Calls meet troubles by chance from now on; the same seed, the same chances.
    pub fn set_chances(&self, chances: Chances, seed: u64) {
        self.shared.troubles().set_chances(chances, seed);
    }

    /// How often an action was carried out, by any caller.
    #[must_use]
    pub fn count(&self, action: &str) -> u64 {
        let troubles = self.shared.troubles();
        troubles.counts.get(&action.to_lowercase()).copied().unwrap_or(0)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn troubles(&self) -> MutexGuard<'_, trouble::Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
