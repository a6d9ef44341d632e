//! Ten thousand orders on a line that loses one answer in ten, eight at once.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use stowage_provider::{OrderKey, Provider as _};
use stowage_types::CustomerId;
use stowage_whmcs_simulator::{Chances, Settings};

use crate::kit::{Kit, order, until_clear};

const ORDERS: usize = 10_000;
const CUSTOMERS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_orders_are_ten_thousand_orders() {
    let kit = Kit::start_with(Settings::default(), |_| {}).await;
    kit.simulator.set_chances(Chances { drop_answer: 100, ..Chances::default() }, 7);
    let placed = stream::iter(0..ORDERS).map(|n| {
        let mut order = order("any");
        order.key = OrderKey::parse(&format!("order-{n}")).unwrap();
        order.customer = CustomerId(1001 + i64::try_from(n % CUSTOMERS).unwrap());
        let provider = &kit.provider;
        async move { until_clear(|| provider.place_order(&order)).await.unwrap() }
    });
    let placed: Vec<_> = placed.buffer_unordered(8).collect().await;
    let unique = |id: fn(&stowage_provider::PlacedOrder) -> i64| {
        placed.iter().map(id).collect::<HashSet<_>>().len()
    };
    assert_eq!(unique(|placed| placed.order_id), ORDERS);
    assert_eq!(unique(|placed| placed.service_id), ORDERS);
    assert_eq!(unique(|placed| placed.invoice_id), ORDERS);
    let state = kit.simulator.state();
    assert_eq!(state.orders.len(), ORDERS, "and no more");
    let domains: HashSet<_> = state.services.values().map(|own| own.domain.as_str()).collect();
    assert_eq!((domains.len(), state.services.len()), (ORDERS, ORDERS));
    assert_eq!(state.invoices.len(), ORDERS);
}
