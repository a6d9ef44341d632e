//! `HookService`.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use stowage_auth::RequestContext;
use stowage_proto::billing as pb;
use stowage_proto::billing::hook_service_server::HookService;
use stowage_provider::signed::SignedMessage;
use stowage_types::{Currency, CustomerId, Malformed, Money, Violations, name};
use tonic::{Request, Response, Status};

use super::invoice::read_reference;
use crate::domain::Billing;
use crate::domain::hook::as_processor;
use crate::domain::payment::{ReportedPayment, Target};
use crate::error::Error;

/// Serves `HookService`.
#[derive(Debug)]
pub(crate) struct HookGrpc(pub(crate) Arc<Billing>);

#[tonic::async_trait]
impl HookService for HookGrpc {
    async fn take_provider_message(
        &self,
        request: Request<pb::TakeProviderMessageRequest>,
    ) -> Result<Response<pb::TakeProviderMessageResponse>, Status> {
        let pb::TakeProviderMessageRequest { installation, message } = request.into_inner();
        let message = message.unwrap_or_default();
        let taken = self.0.take_provider_message(&installation, signed(&message));
        Ok(Response::new(pb::TakeProviderMessageResponse { repeated: taken.await? }))
    }

    async fn take_payment(
        &self,
        request: Request<pb::TakePaymentRequest>,
    ) -> Result<Response<pb::TakePaymentResponse>, Status> {
        let cx = as_processor(RequestContext::of(&request)?);
        let pb::TakePaymentRequest { message, known_customer_id } = request.into_inner();
        let message = message.unwrap_or_default();
        let reported = read_payment(self.0.believe_processor(signed(&message))?)?;
        let known = (known_customer_id > 0).then_some(CustomerId(known_customer_id));
        let repeated = self.0.take_payment(&cx, reported, known).await?;
        Ok(Response::new(pb::TakePaymentResponse { repeated }))
    }
}

fn signed(message: &pb::SignedMessage) -> SignedMessage<'_> {
    let pb::SignedMessage { timestamp, signature, body } = message;
    SignedMessage { timestamp, signature, body }
}

type Fields<'b> = HashMap<String, &'b RawValue>;

fn read_payment(body: &[u8]) -> Result<ReportedPayment, Error> {
    let fields: Fields<'_> = serde_json::from_slice(body)
        .map_err(|_| Violations::of("body", "must be a JSON object in UTF-8"))?;
    // What is null is not there.
    let fields: Fields<'_> = fields.into_iter().filter(|(_, raw)| raw.get() != "null").collect();
    let mut violations = Violations::default();
    let reference = match of::<String>(&fields, "reference", "must be a text") {
        Ok(text) => read_reference(text.unwrap_or_default().as_str(), &mut violations),
        Err(bad) => {
            violations.push("reference", bad.why);
            String::new()
        }
    };
    let target = read_target(&fields, &mut violations);
    let amount = read_money(&fields, &mut violations);
    match (target, amount) {
        (Some(target), Some(amount)) if violations.is_empty() => {
            Ok(ReportedPayment { reference, target, amount })
        }
        _ => Err(violations.into()),
    }
}

/// A field, if it is there.
fn of<T: DeserializeOwned>(
    fields: &Fields<'_>,
    field: &str,
    why: &str,
) -> Result<Option<T>, Malformed> {
    let raw = fields.get(field).copied();
    raw.map(|raw| serde_json::from_str(raw.get()).map_err(|_| Malformed::new(why))).transpose()
}

/// A field as it was written, whether as a text or as a number: no digit of it is touched.
fn text_of(fields: &Fields<'_>, field: &str) -> Result<Option<String>, Malformed> {
    match fields.get(field) {
        Some(raw) if raw.get().starts_with('"') => of(fields, field, "must be a text"),
        raw => Ok(raw.map(|raw| raw.get().to_owned())),
    }
}

fn read_target(fields: &Fields<'_>, violations: &mut Violations) -> Option<Target> {
    let invoice = violations.check("invoice", text_of(fields, "invoice")).flatten();
    let customer = violations.check("customer", text_of(fields, "customer")).flatten();
    // `7` and `invoices/7` are the same.
    let named = |text: String, of: fn(i64) -> String| match text.parse::<i64>() {
        Ok(id) => of(id),
        Err(_) => text,
    };
    match (invoice, customer) {
        (Some(invoice), None) => {
            let id = name::parse_invoice(&named(invoice, name::invoice));
            violations.check("invoice", id).map(Target::Invoice)
        }
        (None, Some(customer)) => {
            let id = name::parse_customer(&named(customer, |id| name::customer(CustomerId(id))));
            violations.check("customer", id).map(|id| Target::Customer(Some(id)))
        }
        (Some(_), Some(_)) => {
            violations.push("customer", "must not be there beside invoice");
            None
        }
        (None, None) => {
            violations.push("invoice", "or customer must be there");
            None
        }
    }
}

fn read_money(fields: &Fields<'_>, violations: &mut Violations) -> Option<Money> {
    let required = || Malformed::new("is required");
    let currency = of::<String>(fields, "currency", "must be a text");
    let currency = currency.and_then(|text| text.ok_or_else(required));
    let currency = currency.and_then(|text| Currency::parse(&text));
    let currency = violations.check("currency", currency);
    let text = text_of(fields, "amount").and_then(|text| text.ok_or_else(required));
    let text = violations.check("amount", text)?;
    // Whatever the currency, so that all that is wrong is told at once.
    let amount = Money::from_decimal_str(&text, currency.unwrap_or_else(any_currency));
    let is_positive = |amount: &Money| !amount.is_zero() && !amount.is_negative();
    let amount = amount
        .ok()
        .filter(is_positive)
        .ok_or_else(|| Malformed::new("must be an amount above zero, such as \"9.80\""));
    violations.check("amount", amount).filter(|_| currency.is_some())
}

fn any_currency() -> Currency {
    Currency::parse("EUR").expect("three letters are a currency")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ReportedPayment, Vec<String>> {
        read_payment(body.as_bytes()).map_err(|error| match error {
            Error::Invalid(violations) => {
                violations.iter().map(|(field, _)| field.to_owned()).collect()
            }
            other => vec![other.to_string()],
        })
    }

    #[test]
    fn a_payment_is_read_digit_by_digit() {
        for (body, target, nanos) in [
            (
                r#"{"reference":"B1","invoice":7,"amount":"9.80","currency":"EUR"}"#,
                Target::Invoice(7),
                9_800_000_000,
            ),
            (
                r#"{"currency":"EUR","amount":0.1,"customer":"1001","reference":"B1","x":[1]}"#,
                Target::Customer(Some(CustomerId(1001))),
                100_000_000,
            ),
            (
                r#"{"reference":"B1","invoice":"invoices/7","customer":null,
                    "amount":16777217.000000001,"currency":"EUR"}"#,
                Target::Invoice(7),
                16_777_217_000_000_001,
            ),
            (
                r#"{"reference":"B1","customer":"customers/5","amount":3,"currency":"EUR"}"#,
                Target::Customer(Some(CustomerId(5))),
                3_000_000_000,
            ),
        ] {
            let read = read(body).unwrap();
            assert_eq!((read.target, read.amount.nanos()), (target, nanos), "{body}");
            assert_eq!(read.reference, "B1");
        }
    }

    #[test]
    fn every_bad_field_of_a_payment_is_named() {
        for (body, fields) in [
            ("", &["body"][..]),
            ("[]", &["body"]),
            ("reference=B1", &["body"]),
            ("{}", &["reference", "invoice", "currency", "amount"]),
            (
                r#"{"reference":7,"invoice":"x","amount":"1","currency":"euro"}"#,
                &["reference", "invoice", "currency"],
            ),
            (
                r#"{"reference":"a\nb","invoice":0,"amount":"-1","currency":"EUR"}"#,
                &["reference", "invoice", "amount"],
            ),
            (
                r#"{"reference":"B1","invoice":1,"customer":2,"amount":1e3,"currency":"EUR"}"#,
                &["customer", "amount"],
            ),
            (
                r#"{"reference":"B1","customer":[2],"amount":"0.00","currency":null}"#,
                &["customer", "currency", "amount"],
            ),
            (
                r#"{"reference":"B1","customer":2,"amount":"0.0000000001","currency":"EUR"}"#,
                &["amount"],
            ),
        ] {
            assert_eq!(read(body).unwrap_err(), fields, "{body}");
        }
    }
}
