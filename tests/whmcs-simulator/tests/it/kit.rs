//! The provider at a simulator.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stowage_provider::{
    BoxError, CustomerLinks, Error, NewOrder, OrderKey, OrderRef, Period, PlacedOrder, SpentKeys,
};
use stowage_provider_whmcs::{Memory, Product, Whmcs, WhmcsOptions};
use stowage_types::SecretString;
use stowage_types::{Clock, Currency, CustomerId, FakeClock, Money, PlanId, S3uid, SystemRandom};
use stowage_whmcs_simulator::{Cents, Settings, Simulator};
use time::macros::datetime;

/// Links and keys that last as long as a test. Customer 1001 has the first client's address.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) links: Mutex<HashMap<CustomerId, i64>>,
    pub(crate) emails: Mutex<HashMap<CustomerId, String>>,
    keys: Mutex<HashSet<OrderKey>>,
}

#[async_trait]
impl CustomerLinks for Notes {
    async fn find_client(&self, customer: CustomerId) -> Result<Option<i64>, BoxError> {
        Ok(self.links.lock().unwrap().get(&customer).copied())
    }

    async fn find_customer(&self, client_id: i64) -> Result<Option<CustomerId>, BoxError> {
        let links = self.links.lock().unwrap();
        Ok(links.iter().find(|(_, client)| **client == client_id).map(|(customer, _)| *customer))
    }

    async fn link(&self, customer: CustomerId, client_id: i64) -> Result<bool, BoxError> {
        let mut links = self.links.lock().unwrap();
        let is_taken = links.contains_key(&customer) || links.values().any(|own| *own == client_id);
        if !is_taken {
            links.insert(customer, client_id);
        }
        Ok(!is_taken)
    }

    async fn find_email(&self, customer: CustomerId) -> Result<Option<SecretString>, BoxError> {
        let emails = self.emails.lock().unwrap();
        Ok(emails.get(&customer).map(|email| SecretString::from(email.clone())))
    }
}

#[async_trait]
impl SpentKeys for Notes {
    async fn spend(&self, key: &OrderKey) -> Result<(), BoxError> {
        self.keys.lock().unwrap().insert(key.clone());
        Ok(())
    }

    async fn is_spent(&self, key: &OrderKey) -> Result<bool, BoxError> {
        Ok(self.keys.lock().unwrap().contains(key))
    }
}

/// A provider at a simulator, which has clients, and product 1 at 10 EUR a month.
pub(crate) struct Kit {
    pub(crate) simulator: Simulator,
    pub(crate) provider: Whmcs,
    pub(crate) notes: Arc<Notes>,
    pub(crate) clock: Arc<FakeClock>,
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default(), |_| {}).await
    }

    pub(crate) async fn start_with(
        settings: Settings,
        change: impl FnOnce(&mut WhmcsOptions),
    ) -> Self {
        let clock = Arc::new(FakeClock::at(datetime!(2026-01-31 13:37 UTC)));
        let simulator = Simulator::start(settings, clock.clone()).await;
        {
            let mut state = simulator.state();
            let euro = state.add_currency("EUR");
            for n in 0..50 {
                state.add_client(&format!("c{}@example.com", 1001 + n), euro);
            }
            let prices = [(euro, "monthly", Cents(1_000)), (euro, "annually", Cents(10_000))];
            state.add_product("Standard", &prices);
        }
        let notes = Arc::new(Notes::default());
        for n in 0..50 {
            let email = format!("C{}@example.com", 1001 + n);
            notes.emails.lock().unwrap().insert(CustomerId(1001 + n), email);
        }
        let mut options = options(&simulator.url());
        change(&mut options);
        let provider = open(options, &notes, &clock);
        Self { simulator, provider, notes, clock }
    }
}

/// Options of a test: nothing is waited for that need not be.
pub(crate) fn options(url: &str) -> WhmcsOptions {
    let product = Product { id: 1, overrides_price: true };
    let products = BTreeMap::from([(PlanId(1), product)]);
    let who = ("identifier", SecretString::from("secret".to_owned()));
    let mut options = WhmcsOptions::new(url, who, "banktransfer", products);
    options.calls_per_second = 1_000_000;
    options.read_pause = Duration::from_millis(2);
    options.breaker_failures = 1_000;
    options
}

pub(crate) fn open(options: WhmcsOptions, notes: &Arc<Notes>, clock: &Arc<FakeClock>) -> Whmcs {
    open_at(options, notes, clock.clone())
}

/// Likewise, by whatever clock.
pub(crate) fn open_at(options: WhmcsOptions, notes: &Arc<Notes>, clock: Arc<dyn Clock>) -> Whmcs {
    let memory = Memory { links: notes.clone(), keys: notes.clone() };
    Whmcs::new(options, memory, clock, Arc::new(SystemRandom)).unwrap()
}

pub(crate) fn euros(cents: i128) -> Money {
    Money::from_nanos(cents * 10_000_000, Currency::parse("EUR").unwrap())
}

pub(crate) fn order(key: &str) -> NewOrder {
    NewOrder {
        key: OrderKey::parse(key).unwrap(),
        customer: CustomerId(1001),
        s3uid: S3uid::parse(&"a1".repeat(16)).unwrap(),
        plan: PlanId(1),
        plan_version: 1,
        title: "Standard S3 Plan".to_owned(),
        location: "NL".to_owned(),
        installation: String::new(),
        period: Period::Monthly,
        period_price: euros(980),
    }
}

pub(crate) fn reference(order: &NewOrder, placed: Option<PlacedOrder>) -> OrderRef {
    let installation = order.installation.clone();
    OrderRef { key: order.key.clone(), customer: order.customer, installation, placed }
}

/// Repeats a call until its answer is clear, as billing does.
pub(crate) async fn until_clear<T, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 0..200 {
        match call().await {
            Err(error) if error.is_transient() => tokio::task::yield_now().await,
            answer => return answer,
        }
    }
    panic!("no clear answer after 200 attempts")
}
