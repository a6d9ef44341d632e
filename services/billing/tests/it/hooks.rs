//! What payment processors report, signed.

use stowage_auth::Principal;
use stowage_proto::billing as pb;
use stowage_proto::billing::hook_service_client::HookServiceClient;
use stowage_proto::common::ErrorReason as R;
use stowage_provider::signed::sign;
use stowage_runtime::{RoleChannel, field_violations, metadata_of};
use tonic::{Code, Status};

use crate::invoices::{accept, get, office, payment};
use crate::kit::{Kit, PROCESSOR_SECRET, assert_reason, money, principal};
use crate::provider_trouble::Trouble;

/// Hooks as the gateway reaches them.
fn hooks(kit: &Kit) -> HookServiceClient<RoleChannel> {
    HookServiceClient::new(kit.channel(&Principal::service("services/gateway", None)))
}

/// A message signed so many seconds from now.
fn message(kit: &Kit, seconds: i64, body: &str) -> pb::SignedMessage {
    let now = stowage_types::Clock::now(&*kit.clock).unix_timestamp();
    let timestamp = (now + seconds).to_string();
    let signature = sign(&PROCESSOR_SECRET.to_owned().into(), &timestamp, body.as_bytes());
    pb::SignedMessage { timestamp, signature, body: body.as_bytes().to_vec() }
}

/// Reports a payment; answers whether it was booked before.
async fn report(kit: &Kit, body: &str) -> Result<bool, Status> {
    let message = Some(message(kit, 0, body));
    let request = pb::TakePaymentRequest { message, known_customer_id: 0 };
    Ok(hooks(kit).take_payment(request).await?.into_inner().repeated)
}

fn for_invoice(reference: &str, amount: &str) -> String {
    format!(r#"{{"reference":"{reference}","invoice":1,"amount":"{amount}","currency":"EUR"}}"#)
}

fn for_customer(reference: &str, customer: i64, amount: &str) -> String {
    let money = format!(r#""amount":"{amount}","currency":"EUR""#);
    format!(r#"{{"reference":"{reference}","customer":{customer},{money}}}"#)
}

async fn usable(kit: &Kit, customer: i64) -> Option<stowage_proto::Money> {
    let mut credits = kit.credits(&principal(stowage_auth::PrincipalRole::Administrator, None));
    let request = pb::GetStandingRequest { customer: format!("customers/{customer}") };
    let standing = credits.get_standing(request).await.unwrap().into_inner();
    standing.credits.into_iter().next().and_then(|credit| credit.usable)
}

#[tokio::test]
async fn a_reported_payment_is_booked_once_whatever_is_lost() {
    let kit = Kit::start().await;
    accept(&mut kit.sagas(), "k1").await;
    kit.provider.will(&[Trouble::IsAway, Trouble::LosesAnswer]);
    for _ in 0..2 {
        let answer = report(&kit, &for_invoice("PSP-1", "0.25")).await;
        assert_reason(answer, Code::Unavailable, R::ProviderUnavailable);
    }
    for repeated in [false, true, true] {
        assert_eq!(report(&kit, &for_invoice("PSP-1", "0.25")).await.unwrap(), repeated);
    }
    // What is booked is answered without the provider.
    kit.provider.will(&[Trouble::IsAway]);
    assert!(report(&kit, &for_invoice("PSP-1", "0.250")).await.unwrap());
    let invoice = get(&mut office(&kit), 1).await;
    assert_eq!(invoice.paid, Some(money("EUR", 0, 250_000_000)));
}

#[tokio::test]
async fn a_reference_is_one_payment_whoever_brings_it_and_whatever_it_is_for() {
    let kit = Kit::start().await;
    accept(&mut kit.sagas(), "k1").await;
    report(&kit, &for_invoice("PSP-1", "0.25")).await.unwrap();
    for body in [
        for_invoice("PSP-1", "0.26"),
        for_invoice("PSP-1", "0.25").replace("EUR", "USD"),
        for_customer("PSP-1", 7, "0.25"),
    ] {
        let answer = report(&kit, &body).await;
        assert_reason(answer, Code::AlreadyExists, R::PaymentReferenceReused);
    }
    // The same money, reported by the bank to an operator.
    let mut office = office(&kit);
    let amount = Some(money("EUR", 0, 250_000_000));
    let booked = office.record_payment(payment(1, "PSP-1", amount.clone())).await.unwrap();
    assert_eq!(booked.into_inner().paid, amount);
    let other = office.record_payment(payment(1, "PSP-1", Some(money("EUR", 0, 1)))).await;
    assert_reason(other, Code::FailedPrecondition, R::PaymentRefused);
    let mut credits = kit.credits(&principal(stowage_auth::PrincipalRole::Administrator, None));
    let credit = pb::RecordCreditRequest {
        customer: "customers/7".to_owned(),
        amount,
        reference: "PSP-1".to_owned(),
        ..Default::default()
    };
    let answer = credits.record_credit(credit).await;
    assert_reason(answer, Code::FailedPrecondition, R::PaymentRefused);
    // And the other way round: what an operator has booked is told again by the processor.
    office.record_payment(payment(1, "BANK-1", Some(money("EUR", 0, 5)))).await.unwrap();
    let answer = report(&kit, &for_customer("BANK-1", 7, "0.000000005")).await;
    assert_reason(answer, Code::AlreadyExists, R::PaymentReferenceReused);
    assert!(report(&kit, &for_invoice("BANK-1", "0.000000005")).await.unwrap());
    let usable = usable(&kit, 7).await.unwrap_or_default();
    assert_eq!((usable.units, usable.nanos), (0, 0), "nothing of it became credit");
}

#[tokio::test]
async fn what_is_refused_may_be_corrected_under_its_reference() {
    let kit = Kit::start().await;
    accept(&mut kit.sagas(), "k1").await;
    let answer = report(&kit, &for_invoice("PSP-1", "1000")).await;
    assert_reason(answer, Code::FailedPrecondition, R::PaymentTooHigh);
    let absent = for_invoice("PSP-1", "1").replace("\"invoice\":1", "\"invoice\":99");
    assert_reason(report(&kit, &absent).await, Code::NotFound, R::InvoiceNotFound);
    assert!(!report(&kit, &for_customer("PSP-1", 7, "1000")).await.unwrap());
    // What is owed is paid from it.
    let invoice = get(&mut office(&kit), 1).await;
    assert_eq!(invoice.state(), pb::InvoiceState::Paid);
    // It is not known whether this one was booked, so its reference stays what it is.
    kit.provider.will(&[Trouble::LosesAnswer]);
    let answer = report(&kit, &for_customer("PSP-2", 7, "1")).await;
    assert_reason(answer, Code::Unavailable, R::ProviderUnavailable);
    let answer = report(&kit, &for_customer("PSP-2", 7, "2")).await;
    assert_reason(answer, Code::AlreadyExists, R::PaymentReferenceReused);
    assert!(!report(&kit, &for_customer("PSP-2", 7, "1")).await.unwrap());
    assert!(report(&kit, &for_customer("PSP-2", 7, "1")).await.unwrap());
}

#[tokio::test]
async fn credit_of_a_customer_who_was_never_met_needs_somebody_who_knows_him() {
    let kit = Kit::start().await;
    let body = for_customer("PSP-1", 99, "5");
    let stranger = report(&kit, &body).await.unwrap_err();
    assert_eq!(metadata_of(&stranger, "customer_id").as_deref(), Some("99"));
    assert_reason::<()>(Err(stranger), Code::NotFound, R::CustomerNotFound);
    for (known_customer_id, repeated) in [(99, false), (0, true)] {
        let message = Some(message(&kit, 0, &body));
        let request = pb::TakePaymentRequest { message, known_customer_id };
        let taken = hooks(&kit).take_payment(request).await.unwrap().into_inner();
        assert_eq!(taken.repeated, repeated);
    }
    assert_eq!(usable(&kit, 99).await, Some(money("EUR", 5, 0)));
}

#[tokio::test]
async fn what_is_not_signed_or_not_of_now_is_not_looked_at() {
    let kit = Kit::start().await;
    accept(&mut kit.sagas(), "k1").await;
    let body = for_invoice("PSP-1", "0.25");
    let good = message(&kit, 0, &body);
    let changed = for_invoice("PSP-1", "0.26").into_bytes();
    let send = async |message: pb::SignedMessage| {
        let request = pb::TakePaymentRequest { message: Some(message), known_customer_id: 0 };
        hooks(&kit).take_payment(request).await.map(drop)
    };
    for bad in [
        pb::SignedMessage { body: changed, ..good.clone() },
        pb::SignedMessage { signature: format!("sha256={}", "0".repeat(64)), ..good.clone() },
        pb::SignedMessage { timestamp: good.timestamp.clone() + "0", ..good.clone() },
        message(&kit, -301, &body),
        message(&kit, 301, &body),
    ] {
        assert_reason(send(bad).await, Code::Unauthenticated, R::SignatureInvalid);
    }
    for (bad, field) in [
        (pb::SignedMessage { signature: String::new(), ..good.clone() }, "X-Stowage-Signature"),
        (pb::SignedMessage { timestamp: String::new(), ..good.clone() }, "X-Stowage-Timestamp"),
        (pb::SignedMessage { body: vec![b' '; 16 * 1024 + 1], ..good.clone() }, "body"),
        (message(&kit, 0, "{"), "body"),
        (message(&kit, 0, &body.replace("0.25", "-0.25")), "amount"),
    ] {
        let refused = send(bad).await.unwrap_err();
        let fields: Vec<_> = field_violations(&refused).into_iter().map(|(own, _)| own).collect();
        assert_eq!((refused.code(), fields), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    assert_eq!(get(&mut office(&kit), 1).await.paid, Some(money("EUR", 0, 0)));
    send(good).await.unwrap();
}

#[tokio::test]
async fn the_ledger_sends_no_messages() {
    let kit = Kit::start().await;
    for installation in ["ledger", "whmcs", ""] {
        let request = pb::TakeProviderMessageRequest {
            installation: installation.to_owned(),
            message: Some(message(&kit, 0, r#"{"event":"InvoicePaid"}"#)),
        };
        let answer = hooks(&kit).take_provider_message(request).await;
        assert_reason(answer, Code::NotFound, R::HookNotFound);
    }
}
