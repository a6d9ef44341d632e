//! Plans and subscriptions.

use prost::Message as _;
use stowage_proto::billing as pb;

use super::table::Foreign::{AsMissing, Installation, NotFound, Shared};
use super::table::{Answer, Foreign, Need, OPERATORS, READERS, ROLES, Row, SUPPORT};
use super::world::plan_of;

const NO_CUSTOMER: Foreign = NotFound("CUSTOMER_NOT_FOUND");
const NO_INVOICE: Foreign = NotFound("INVOICE_NOT_FOUND");
const NO_SUBSCRIPTION: Foreign = NotFound("SUBSCRIPTION_NOT_FOUND");

fn a_billionth() -> stowage_proto::Money {
    stowage_proto::Money { currency_code: "EUR".to_owned(), units: 0, nanos: 1 }
}

pub(super) const ROWS: &[Row] = &[
    Row::new("/stowage.billing.v1.PlanService/CreatePlan", OPERATORS, Shared, |n| {
        let plan = plan_of(&format!("Plan {}", n.serial));
        pb::CreatePlanRequest { plan: Some(plan), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.billing.v1.PlanService/GetPlan", READERS, Shared, |n| {
        pb::GetPlanRequest { name: n.plan(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.PlanService/ListPlans", READERS, Shared, |_| {
        pb::ListPlansRequest::default().encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.PlanService/UpdatePlan", OPERATORS, Shared, |n| {
        let plan = pb::Plan {
            name: n.own_plan.clone(),
            title: format!("Renamed {}", n.serial),
            ..Default::default()
        };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["title".to_owned()] });
        pb::UpdatePlanRequest { plan: Some(plan), update_mask, ..Default::default() }
            .encode_to_vec()
    })
    .needs(Need::Plan),
    Row::new("/stowage.billing.v1.PlanService/ArchivePlan", OPERATORS, Shared, |n| {
        let name = n.own_plan.clone();
        pb::ArchivePlanRequest { name, ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Plan),
    Row::new("/stowage.billing.v1.InvoiceService/ListInvoices", READERS, AsMissing, |n| {
        pb::ListInvoicesRequest { customer: n.customer(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.InvoiceService/GetInvoice", READERS, NO_INVOICE, |n| {
        pb::GetInvoiceRequest { name: n.invoice() }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.InvoiceService/GetInvoiceDocument", READERS, NO_INVOICE, |n| {
        pb::GetInvoiceDocumentRequest { name: n.invoice() }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.InvoiceService/VerifyInvoice", SUPPORT, NO_INVOICE, |n| {
        pb::VerifyInvoiceRequest { name: n.invoice() }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.InvoiceService/VerifyInvoices", SUPPORT, Shared, |_| {
        pb::VerifyInvoicesRequest::default().encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.InvoiceService/ListCharges", READERS, AsMissing, |n| {
        pb::ListChargesRequest { customer: n.customer(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.InvoiceService/ListBilledUsage", OPERATORS, Installation, |n| {
        pb::ListBilledUsageRequest { s3uids: vec![n.s3uid.clone()] }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.InvoiceService/IssueCreditNote", OPERATORS, NO_INVOICE, |n| {
        let request = pb::IssueCreditNoteRequest {
            name: n.invoice(),
            amount: Some(a_billionth()),
            reason: "too much".to_owned(),
            reference: format!("matrix-{}", n.serial),
            ..Default::default()
        };
        request.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.billing.v1.CreditService/GetStanding", READERS, NO_CUSTOMER, |n| {
        pb::GetStandingRequest { customer: n.customer() }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.CreditService/RecordCredit", OPERATORS, NO_CUSTOMER, |n| {
        let request = pb::RecordCreditRequest {
            customer: n.customer(),
            amount: Some(a_billionth()),
            reference: format!("matrix-{}", n.serial),
            ..Default::default()
        };
        request.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.billing.v1.CreditService/SetPaymentTerms", OPERATORS, NO_CUSTOMER, |n| {
        let payment_terms = pb::PaymentTerms::Invoiced.into();
        let customer = n.customer();
        pb::SetPaymentTermsRequest { customer, payment_terms, ..Default::default() }.encode_to_vec()
    }),
    // Nobody has a secret here: it is not looked at who signed.
    Row::new("/stowage.billing.v1.HookService/TakeProviderMessage", ROLES, Shared, |_| {
        let installation = "whmcs".to_owned();
        pb::TakeProviderMessageRequest { installation, message: None }.encode_to_vec()
    })
    .answers(Answer::Fails("HOOK_NOT_FOUND")),
    Row::new("/stowage.billing.v1.HookService/TakePayment", ROLES, Shared, |_| {
        pb::TakePaymentRequest::default().encode_to_vec()
    })
    .answers(Answer::Fails("HOOK_NOT_FOUND")),
    Row::new("/stowage.billing.v1.ReconcileService/Reconcile", OPERATORS, Installation, |_| {
        pb::ReconcileRequest::default().encode_to_vec()
    }),
    // The ledger links nobody.
    Row::new("/stowage.billing.v1.LinkService/GetCustomerLink", SUPPORT, AsMissing, |n| {
        let (customer, installation) = (n.customer(), String::new());
        pb::GetCustomerLinkRequest { customer, installation }.encode_to_vec()
    })
    .answers(Answer::Fails("LINK_NOT_FOUND")),
    Row::new("/stowage.billing.v1.LinkService/LinkCustomer", OPERATORS, NO_CUSTOMER, |n| {
        let (customer, client_id) = (n.customer(), 1);
        pb::LinkCustomerRequest { customer, client_id, ..Default::default() }.encode_to_vec()
    })
    .answers(Answer::Fails("LINK_REFUSED")),
    Row::new("/stowage.billing.v1.LinkService/UnlinkCustomer", OPERATORS, NO_CUSTOMER, |n| {
        let customer = n.customer();
        pb::UnlinkCustomerRequest { customer, ..Default::default() }.encode_to_vec()
    })
    .answers(Answer::Fails("LINK_NOT_FOUND")),
    // A billionth at a time: every call of the row finds something left to pay.
    Row::new("/stowage.billing.v1.InvoiceService/RecordPayment", OPERATORS, NO_INVOICE, |n| {
        let request = pb::RecordPaymentRequest {
            name: n.invoice(),
            amount: Some(a_billionth()),
            reference: format!("matrix-{}", n.serial),
            ..Default::default()
        };
        request.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.billing.v1.SubscriptionService/QuoteOrder", ROLES, AsMissing, |n| {
        let quote = pb::QuoteOrderRequest {
            customer_id: n.customer,
            currency: "EUR".to_owned(),
            plan: n.plan(),
            location: "locations/NL".to_owned(),
            customer_email: String::new(),
        };
        quote.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.SubscriptionService/PlaceOrder", ROLES, AsMissing, |n| {
        let order = pb::PlaceOrderRequest {
            order_key: format!("matrix-{}", n.serial),
            customer_id: n.customer,
            currency: "EUR".to_owned(),
            plan: n.plan(),
            plan_version: 1,
            location: "locations/NL".to_owned(),
            s3uid: format!("{:0>32}", n.serial),
            customer_email: String::new(),
        };
        order.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/ActivateSubscription",
        ROLES,
        NO_SUBSCRIPTION,
        |n| pb::ActivateSubscriptionRequest { order_key: n.order_key.clone() }.encode_to_vec(),
    )
    .needs(Need::Serial),
    Row::new("/stowage.billing.v1.SubscriptionService/UndoOrder", ROLES, AsMissing, |n| {
        pb::UndoOrderRequest { order_key: n.order_key.clone() }.encode_to_vec()
    }),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/TerminateSubscription",
        ROLES,
        NO_SUBSCRIPTION,
        |n| pb::TerminateSubscriptionRequest { name: n.subscription() }.encode_to_vec(),
    ),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/ChangeSubscriptionPlan",
        ROLES,
        NO_SUBSCRIPTION,
        |n| {
            let request = pb::ChangeSubscriptionPlanRequest {
                name: n.subscription(),
                plan: n.other_plan(),
                plan_version: 1,
                change_key: String::new(),
            };
            request.encode_to_vec()
        },
    ),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/ScheduleCancellation",
        ROLES,
        NO_SUBSCRIPTION,
        |n| pb::ScheduleSubscriptionCancellationRequest { name: n.subscription() }.encode_to_vec(),
    ),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/WithdrawCancellation",
        ROLES,
        NO_SUBSCRIPTION,
        |n| pb::WithdrawSubscriptionCancellationRequest { name: n.subscription() }.encode_to_vec(),
    )
    .needs(Need::Serial),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/ListOpenSubscriptions",
        OPERATORS,
        AsMissing,
        |_| pb::ListOpenSubscriptionsRequest::default().encode_to_vec(),
    ),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/BatchGetSubscriptions",
        READERS,
        AsMissing,
        |n| {
            let service_ids = vec![n.service_id];
            pb::BatchGetSubscriptionsRequest { service_ids, ..Default::default() }.encode_to_vec()
        },
    ),
];
