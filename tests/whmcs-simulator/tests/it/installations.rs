//! Several installations as one provider.

use std::sync::Arc;

use stowage_provider::signed::{Disbelief, SignedMessage, sign};
use stowage_provider::{
    ById, Error, InvoiceListing, InvoiceState, NewOrder, OverdueListing, Payment, Provider,
    conformance,
};
use stowage_provider_whmcs::{Installation, Installations, WhmcsOptions};
use stowage_types::{Clock as _, CustomerId};
use stowage_whmcs_simulator::Chances;

use crate::kit::{Kit, open, options, order, reference};

fn installation(kit: &Kit, (name, number): (&str, i64), locations: &[&str]) -> Installation {
    Installation {
        name: name.to_owned(),
        number,
        locations: locations.iter().map(|code| (*code).to_owned()).collect(),
        provider: Arc::new(open(options(&kit.simulator.url()), &kit.notes, &kit.clock)),
    }
}

/// What is ordered at a location, with the installation that billing keeps for it.
fn order_at(provider: &dyn Provider, key: &str, location: &str) -> NewOrder {
    let installation = provider.installation_at(location).to_owned();
    NewOrder { location: location.to_owned(), installation, ..order(key) }
}

const ALL: InvoiceListing = InvoiceListing { customer: None, state: None, before: None, max: 100 };

#[tokio::test]
async fn several_installations_pass_the_suite_each() {
    let (first, second) = (Kit::start().await, Kit::start().await);
    let provider = Installations::new(vec![
        installation(&first, ("", 0), &[]),
        installation(&second, ("dutch", 1), &["DE"]),
    ]);
    conformance::run(&provider.unwrap()).await;
    assert!(second.simulator.state().orders.is_empty());
}

#[tokio::test]
async fn an_order_is_billed_where_its_location_was_when_it_was_placed() {
    let (first, second) = (Kit::start().await, Kit::start().await);
    let provider = Installations::new(vec![
        installation(&first, ("", 0), &[]),
        installation(&second, ("dutch", 2), &["NL"]),
    ]);
    let provider = provider.unwrap();
    assert_eq!(provider.installations(), ["whmcs", "dutch"]);
    let (here, there) = (order_at(&provider, "k1", "US"), order_at(&provider, "k2", "NL"));
    let placed = provider.place_order(&here).await.unwrap();
    let other = provider.place_order(&there).await.unwrap();
    assert_eq!((placed.order_id, placed.service_id, placed.invoice_id), (1, 1, 1));
    let ids = (other.order_id, other.service_id, other.invoice_id);
    assert_eq!(ids, (2_000_000_000_001, 2_000_000_000_001, 2_000_000_000_001));
    assert_eq!(provider.place_order(&there).await.unwrap(), other, "a repeat is the same");

    // The location is another's from now on; what was placed before stays.
    let provider = Installations::new(vec![
        installation(&first, ("", 0), &["NL"]),
        installation(&second, ("dutch", 2), &["DE"]),
    ]);
    let provider = provider.unwrap();
    assert_eq!(provider.installation_at("NL"), "");
    assert_eq!(provider.place_order(&there).await.unwrap(), other);
    for (order, placed) in [(&here, placed), (&there, other)] {
        provider.activate(&reference(order, Some(placed))).await.unwrap();
    }
    let listed = provider.list_invoices(ALL).await.unwrap();
    let ids: Vec<i64> = listed.iter().map(|invoice| invoice.id).collect();
    assert_eq!(ids, [other.invoice_id, placed.invoice_id]);
    assert_eq!(listed[0].service_id, other.service_id);
    for (before, expected) in [(ids[0], vec![ids[1]]), (ids[1], vec![]), (ids[0] + 1, ids.clone())]
    {
        let page = InvoiceListing { before: Some(before), ..ALL };
        let page = provider.list_invoices(page).await.unwrap();
        assert_eq!(page.iter().map(|invoice| invoice.id).collect::<Vec<_>>(), expected);
    }
    let one = provider.list_invoices(InvoiceListing { max: 1, ..ALL }).await.unwrap();
    assert_eq!(one, listed[..1]);
    let payment = Payment {
        reference: "BANK-1".to_owned(),
        invoice_id: other.invoice_id,
        amount: None,
        actor: "test".to_owned(),
    };
    let paid = provider.record_payment(&payment).await.unwrap();
    assert_eq!((paid.id, paid.state), (other.invoice_id, InvoiceState::Paid));
    let found = provider.find_invoices(&ids).await.unwrap();
    let states: Vec<_> = found.iter().map(|invoice| (invoice.id, invoice.state)).collect();
    assert_eq!(states, [(ids[1], InvoiceState::Open), (ids[0], InvoiceState::Paid)]);
    let by = |after| ById { after, max: 10 };
    let services = async |name: &str, after| {
        let part = provider.list_services(name, by(after)).await.unwrap();
        part.rows.iter().map(|service| (service.service_id, service.order_id)).collect::<Vec<_>>()
    };
    assert_eq!(services("dutch", 0).await, [(other.service_id, other.order_id)]);
    assert_eq!(services("dutch", other.service_id).await, []);
    assert_eq!(services("whmcs", 0).await, [(placed.service_id, placed.order_id)]);
    let gone = provider.list_services("gone", by(0)).await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
    let found = provider.find_service(&reference(&there, Some(other))).await.unwrap();
    assert_eq!(found.map(|service| service.service_id), Some(other.service_id));
    provider.terminate(&reference(&there, Some(other))).await.unwrap();
    assert_eq!(second.simulator.state().services.values().next().unwrap().status, "Terminated");
    assert_eq!(first.simulator.state().services.values().next().unwrap().status, "Active");
}

#[tokio::test]
async fn a_message_is_of_the_installation_that_has_signed_it() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let (first, second) = (Kit::start().await, Kit::start().await);
    let with_secret = WhmcsOptions {
        hook_secret: Some(SECRET.to_owned().into()),
        ..options(&second.simulator.url())
    };
    let dutch = Installation {
        provider: Arc::new(open(with_secret, &second.notes, &second.clock)),
        ..installation(&second, ("dutch", 2), &["NL"])
    };
    let provider = Installations::new(vec![installation(&first, ("", 0), &[]), dutch]).unwrap();
    let timestamp = second.clock.now().unix_timestamp().to_string();
    let body = br#"{"event":"InvoicePaid","invoiceid":7}"#;
    let signature = sign(&SECRET.to_owned().into(), &timestamp, body);
    let message = SignedMessage { timestamp: &timestamp, signature: &signature, body };
    let hint = provider.read_message("dutch", message).unwrap();
    assert_eq!((hint.event.as_str(), hint.invoice_id), ("InvoicePaid", Some(2_000_000_000_007)));
    for name in ["whmcs", "gone"] {
        assert_eq!(provider.read_message(name, message), Err(Disbelief::NoSecret), "{name}");
    }
}

#[tokio::test]
async fn one_that_is_away_holds_up_no_other() {
    let (first, second) = (Kit::start().await, Kit::start().await);
    let provider = Installations::new(vec![
        installation(&first, ("", 0), &[]),
        installation(&second, ("dutch", 2), &["NL"]),
    ]);
    let provider = provider.unwrap();
    let there = order_at(&provider, "k1", "NL");
    let other = provider.place_order(&there).await.unwrap();
    provider.activate(&reference(&there, Some(other))).await.unwrap();
    first.simulator.set_chances(Chances { drop_call: 1000, ..Chances::default() }, 7);
    let refused = provider.place_order(&order_at(&provider, "k2", "US")).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    let next = order_at(&provider, "k3", "NL");
    provider.place_order(&next).await.unwrap();
    assert_eq!(provider.find_invoices(&[other.invoice_id]).await.unwrap().len(), 1);
    assert!(provider.find_invoices(&[1, other.invoice_id]).await.is_err(), "never a part only");
    let due_before = second.clock.now() + time::Duration::days(60);
    let overdue = OverdueListing { due_before, after: 0, max: 100 };
    let overdue = provider.list_overdue(overdue).await.unwrap();
    assert_eq!(overdue.iter().map(|one| one.id).collect::<Vec<_>>(), [other.invoice_id]);
    // One that is configured no more.
    let gone = NewOrder { installation: "gone".to_owned(), ..order("k4") };
    let refused = provider.place_order(&gone).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    assert!(provider.check_order("gone", CustomerId(1001), gone.period_price).await.is_err());
}

#[tokio::test]
async fn installations_that_cannot_be_told_apart_are_refused() {
    let kit = Kit::start().await;
    let first = || installation(&kit, ("", 0), &[]);
    for (others, word) in [
        (vec![], ""),
        (vec![("dutch", 1, &["NL"][..]), ("dutch", 2, &["DE"])], "two are called dutch"),
        (vec![("dutch", 1, &["NL"]), ("german", 1, &["DE"])], "the number 1 of another"),
        (vec![("dutch", 1, &["NL"]), ("german", 2, &["DE", "NL"])], "bills NL, which another"),
        (vec![("whmcs", 1, &["NL"])], "no name of an installation"),
        (vec![("Dutch", 1, &["NL"])], "no name of an installation"),
        (vec![("", 1, &["NL"])], "no name of an installation"),
        (vec![("dutch", 1000, &["NL"])], "from 1 to 999"),
        (vec![("dutch", 0, &["NL"])], ""),
    ] {
        let other = |(name, number, locations): (&str, i64, &[&str])| {
            installation(&kit, (name, number), locations)
        };
        let is_good = others.is_empty();
        let mut all: Vec<_> = others.into_iter().map(other).collect();
        all.push(first());
        match Installations::new(all) {
            Ok(_) => assert!(is_good, "{word}"),
            Err(error) => {
                let error = format!("{error} {:?}", std::error::Error::source(&error));
                assert!(!is_good && error.contains(word), "{word}: {error}");
            }
        }
    }
    assert!(Installations::new(Vec::new()).is_err());
}
