use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use stowage_runtime::{field_violations, metadata_of, reason_of};
use tonic::Code;

use crate::kit::{Kit, acting_for, admin, assert_reason, staff};

fn create(email: &str, currency: &str, request_id: &str) -> pb::CreateCustomerRequest {
    let customer =
        pb::Customer { email: email.into(), currency: currency.into(), ..Default::default() };
    pb::CreateCustomerRequest { customer: Some(customer), request_id: request_id.into() }
}

#[tokio::test]
async fn the_first_customer_is_1001_and_addresses_are_unique_in_any_case() {
    let kit = Kit::start().await;
    let mut client = kit.customers();
    let made = client.create_customer(kit.by(&admin(), create("A@Example.com", "eur", ""))).await;
    let made = made.unwrap().into_inner();
    assert_eq!((made.customer_id, made.currency.as_str()), (1001, "EUR"));
    assert_eq!((made.name.as_str(), made.email.as_str()), ("customers/1001", "A@Example.com"));

    let taken = client.create_customer(kit.by(&admin(), create("a@example.COM", "USD", ""))).await;
    assert_reason(&taken.unwrap_err(), Code::AlreadyExists, ErrorReason::EmailTaken);
    let next = client.create_customer(kit.by(&admin(), create("b@example.com", "USD", ""))).await;
    assert_eq!(next.unwrap().into_inner().customer_id, 1002);
}

#[tokio::test]
async fn every_bad_field_is_told_at_once() {
    let kit = Kit::start().await;
    let bad = create("nobody", "euro", &"x".repeat(65));
    let error = kit.customers().create_customer(kit.by(&admin(), bad)).await.unwrap_err();
    assert_eq!(reason_of(&error), Some(ErrorReason::InvalidField));
    let fields: Vec<_> = field_violations(&error).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["request_id", "customer.email", "customer.currency"]);
    assert_eq!(metadata_of(&error, "state"), None);
}

#[tokio::test]
async fn a_request_id_answers_its_first_answer_again() {
    let kit = Kit::start().await;
    let mut client = kit.customers();
    let first = create("a@example.com", "EUR", "r1");
    let one = client.create_customer(kit.by(&admin(), first.clone())).await.unwrap();
    let two = client.create_customer(kit.by(&admin(), first)).await.unwrap();
    assert_eq!(one.into_inner(), two.into_inner());
    let other = create("b@example.com", "EUR", "r1");
    let error = client.create_customer(kit.by(&admin(), other)).await.unwrap_err();
    assert_reason(&error, Code::AlreadyExists, ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn a_customer_sees_himself_only_and_staff_sees_all_page_by_page() {
    let kit = Kit::start().await;
    let one = kit.customer("one@example.com").await;
    for email in ["two@example.com", "three@example.com"] {
        kit.customer(email).await;
    }
    let get = |name: &str| pb::GetCustomerRequest { name: name.into() };
    let mut client = kit.customers();
    assert!(client.get_customer(kit.by(&one, get("customers/1001"))).await.is_ok());
    for name in ["customers/1002", "customers/4711"] {
        let error = client.get_customer(kit.by(&one, get(name))).await.unwrap_err();
        assert_reason(&error, Code::NotFound, ErrorReason::CustomerNotFound);
        assert_eq!(error.message(), "customer not found");
    }
    let list =
        |page_token: &str| pb::ListCustomersRequest { page_size: 2, page_token: page_token.into() };
    let page = client.list_customers(kit.by(&staff(), list(""))).await.unwrap().into_inner();
    assert_eq!(page.customers.len(), 2);
    let next = list(&page.next_page_token);
    let page = client.list_customers(kit.by(&staff(), next)).await.unwrap().into_inner();
    assert_eq!(page.customers[0].customer_id, 1003);
    assert_eq!((page.customers.len(), page.next_page_token.as_str()), (1, ""));
    let error = client.list_customers(kit.by(&staff(), list("garbage"))).await.unwrap_err();
    assert_reason(&error, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let page = client.list_customers(kit.by(&acting_for(&one), list(""))).await.unwrap();
    assert_eq!(page.into_inner().customers.len(), 1);
}
