//! Accounts, customers, sagas, history.

use prost::Message as _;
use stowage_proto::accounts as pb;
use stowage_proto::common::PrincipalRole::Staff;

use super::table::Answer::Fails;
use super::table::Foreign::{AsMissing, Installation, NotFound, Shared};
use super::table::{ADMINISTRATORS, NO_LETTER, Need, OPERATORS, OWNERS, READERS, Row, SUPPORT};

/// A delivery that never was.
const NO_DELIVERY: &str = "webhookDeliveries/00000000-0000-0000-0000-000000000000";

const NO_ACCOUNT: super::table::Foreign = NotFound("ACCOUNT_NOT_FOUND");
const NO_CUSTOMER: super::table::Foreign = NotFound("CUSTOMER_NOT_FOUND");

pub(super) const ROWS: &[Row] = &[
    Row::new("/stowage.accounts.v1.AccountService/CreateAccount", OWNERS, Shared, |n| {
        pb::CreateAccountRequest {
            plan: n.plan(),
            bucket: format!("new-{}", n.serial),
            ..Default::default()
        }
        .encode_to_vec()
    })
    .needs(Need::Serial)
    .for_nobody(Fails("CUSTOMER_NOT_FOUND")),
    Row::new("/stowage.accounts.v1.AccountService/GetAccount", READERS, NO_ACCOUNT, |n| {
        pb::GetAccountRequest { name: n.account() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/GetAccount", READERS, NO_ACCOUNT, |n| {
        let name = format!("accounts/{}", n.account_id);
        pb::GetAccountRequest { name }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/ListAccounts", READERS, AsMissing, |n| {
        let s3uids = vec![n.s3uid.clone()];
        pb::ListAccountsRequest { s3uids, ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/DeleteAccount", OWNERS, NO_ACCOUNT, |n| {
        pb::DeleteAccountRequest { name: n.account(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/ScheduleCancellation", OWNERS, NO_ACCOUNT, |n| {
        pb::ScheduleCancellationRequest { name: n.account(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/WithdrawCancellation", OWNERS, NO_ACCOUNT, |n| {
        pb::WithdrawCancellationRequest { name: n.account(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.accounts.v1.AccountService/SuspendAccount", OPERATORS, NO_ACCOUNT, |n| {
        pb::SuspendAccountRequest { name: n.account(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/ResumeAccount", OPERATORS, NO_ACCOUNT, |n| {
        pb::ResumeAccountRequest { name: n.account(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.accounts.v1.AccountService/ChangeAccountPlan", OWNERS, NO_ACCOUNT, |n| {
        pb::ChangeAccountPlanRequest {
            name: n.account(),
            plan: n.other_plan(),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/RotateAccessKey", OWNERS, NO_ACCOUNT, |n| {
        pb::RotateAccessKeyRequest { name: n.account(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/RevokeAccessKey", OWNERS, NO_ACCOUNT, |n| {
        let (name, access_key) = (n.account(), n.access_key.clone());
        pb::RevokeAccessKeyRequest { name, access_key, ..Default::default() }.encode_to_vec()
    })
    .needs(Need::SecondKey),
    Row::new("/stowage.accounts.v1.AccountService/BindRequest", OWNERS, NO_ACCOUNT, |n| {
        let (name, action) = (n.account(), "create_bucket".to_owned());
        let request_id = format!("{} {}", n.serial, n.s3uid);
        pb::BindRequestRequest { name, action, request_id }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.accounts.v1.AccountService/ListAccessKeys", READERS, NO_ACCOUNT, |n| {
        pb::ListAccessKeysRequest { parent: n.account(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AccountService/ListAccessKeys", READERS, NO_ACCOUNT, |n| {
        let parent = n.account();
        pb::ListAccessKeysRequest { parent, with_secrets: true, with_usage: true }.encode_to_vec()
    })
    .but_not(&[Staff]),
    Row::new("/stowage.accounts.v1.AccountService/ListHistory", READERS, AsMissing, |n| {
        pb::ListHistoryRequest { account: n.account(), with_reads: true, ..Default::default() }
            .encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AuditService/ListAuditEntries", READERS, NO_CUSTOMER, |n| {
        pb::ListAuditEntriesRequest { customer: n.customer(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.AuditService/VerifyAudit", READERS, NO_CUSTOMER, |n| {
        pb::VerifyAuditRequest { customer: n.customer(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.CustomerService/CreateCustomer", OPERATORS, Installation, |n| {
        let customer = pb::Customer {
            email: format!("new-{}@example.com", n.serial),
            currency: "EUR".to_owned(),
            ..Default::default()
        };
        pb::CreateCustomerRequest { customer: Some(customer), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.accounts.v1.CustomerService/GetCustomer", READERS, NO_CUSTOMER, |n| {
        pb::GetCustomerRequest { name: n.customer() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.CustomerService/ListCustomers", SUPPORT, AsMissing, |_| {
        pb::ListCustomersRequest::default().encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.KeyringService/GetKeyring", OPERATORS, Installation, |_| {
        pb::GetKeyringRequest {}.encode_to_vec()
    }),
    Row::new(
        "/stowage.accounts.v1.KeyringService/RotateMasterKey",
        ADMINISTRATORS,
        Installation,
        |_| pb::RotateMasterKeyRequest::default().encode_to_vec(),
    )
    .needs(Need::Serial),
    Row::new(
        "/stowage.accounts.v1.KeyringService/RewrapRecords",
        ADMINISTRATORS,
        Installation,
        |_| pb::RewrapRecordsRequest::default().encode_to_vec(),
    )
    .needs(Need::Serial),
    Row::new(
        "/stowage.accounts.v1.KeyringService/RetireMasterKey",
        ADMINISTRATORS,
        Installation,
        |_| pb::RetireMasterKeyRequest { version: 99, ..Default::default() }.encode_to_vec(),
    )
    .needs(Need::Serial)
    .answers(Fails("MASTER_KEY_NOT_FOUND")),
    Row::new("/stowage.accounts.v1.ReconcileService/Reconcile", OPERATORS, Installation, |_| {
        pb::ReconcileRequest { dry_run: true, ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.accounts.v1.DriftService/ListDrift", OPERATORS, Installation, |n| {
        pb::ListDriftRequest { accounts: vec![n.account()], ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.WebhookService/ListWebhooks", OPERATORS, Installation, |_| {
        pb::ListWebhooksRequest {}.encode_to_vec()
    }),
    Row::new(
        "/stowage.accounts.v1.WebhookService/ListWebhookDeliveries",
        OPERATORS,
        Installation,
        |_| pb::ListWebhookDeliveriesRequest::default().encode_to_vec(),
    ),
    Row::new(
        "/stowage.accounts.v1.WebhookService/GetWebhookDelivery",
        OPERATORS,
        Installation,
        |_| pb::GetWebhookDeliveryRequest { name: NO_DELIVERY.to_owned() }.encode_to_vec(),
    )
    .answers(Fails("WEBHOOK_DELIVERY_NOT_FOUND")),
    Row::new(
        "/stowage.accounts.v1.WebhookService/ReplayWebhookDelivery",
        OPERATORS,
        Installation,
        |_| {
            let name = NO_DELIVERY.to_owned();
            pb::ReplayWebhookDeliveryRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("WEBHOOK_DELIVERY_NOT_FOUND")),
    Row::new("/stowage.accounts.v1.WebhookService/TestWebhook", OPERATORS, Installation, |_| {
        let name = "webhooks/nobody".to_owned();
        pb::TestWebhookRequest { name, ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial)
    .answers(Fails("WEBHOOK_NOT_FOUND")),
    Row::new(
        "/stowage.accounts.v1.DeadLetterService/ListDeadLetters",
        OPERATORS,
        Installation,
        |_| pb::ListDeadLettersRequest::default().encode_to_vec(),
    ),
    Row::new(
        "/stowage.accounts.v1.DeadLetterService/GetDeadLetter",
        OPERATORS,
        Installation,
        |_| pb::GetDeadLetterRequest { name: NO_LETTER.to_owned() }.encode_to_vec(),
    )
    .answers(Fails("DEAD_LETTER_NOT_FOUND")),
    Row::new(
        "/stowage.accounts.v1.DeadLetterService/ReplayDeadLetter",
        OPERATORS,
        Installation,
        |_| {
            let name = NO_LETTER.to_owned();
            pb::ReplayDeadLetterRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("DEAD_LETTER_NOT_FOUND")),
    Row::new("/stowage.accounts.v1.SagaService/ListSagas", OPERATORS, Installation, |_| {
        pb::ListSagasRequest::default().encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.SagaService/GetSaga", OPERATORS, Installation, |n| {
        pb::GetSagaRequest { name: n.saga.clone() }.encode_to_vec()
    }),
    Row::new("/stowage.accounts.v1.SagaService/RetrySaga", OPERATORS, Installation, |n| {
        pb::RetrySagaRequest { name: n.saga.clone(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial)
    .answers(Fails("SAGA_ENDED")),
    Row::new("/stowage.accounts.v1.SagaService/UndoSaga", OPERATORS, Installation, |n| {
        pb::UndoSagaRequest { name: n.saga.clone(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial)
    .answers(Fails("SAGA_ENDED")),
    // The account is at that location already.
    Row::new(
        "/stowage.accounts.v1.AccountMoveService/MoveAccount",
        ADMINISTRATORS,
        Installation,
        |n| {
            let (name, location) = (n.account(), "locations/NL".to_owned());
            pb::MoveAccountRequest { name, location, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("INVALID_FIELD")),
    Row::new(
        "/stowage.accounts.v1.AccountMoveService/ConfirmAccountMove",
        ADMINISTRATORS,
        Installation,
        |n| {
            let name = n.account();
            pb::ConfirmAccountMoveRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("ACCOUNT_MOVE_NOT_FOUND")),
    Row::new(
        "/stowage.accounts.v1.AccountMoveService/CancelAccountMove",
        ADMINISTRATORS,
        Installation,
        |n| {
            let name = n.account();
            pb::CancelAccountMoveRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("ACCOUNT_MOVE_NOT_FOUND")),
    // The engine that is embedded cannot tell who is on it.
    Row::new(
        "/stowage.accounts.v1.AdoptionService/CheckAdoption",
        ADMINISTRATORS,
        Installation,
        |n| {
            let (location, foreign) = ("locations/NL".to_owned(), "somebody".to_owned());
            let (customer, plan) =
                (format!("customers/{}", n.customer), format!("plans/{}", n.plan));
            pb::CheckAdoptionRequest { location, foreign, customer, plan }.encode_to_vec()
        },
    )
    .answers(Fails("ENGINE_UNSUPPORTED")),
    Row::new(
        "/stowage.accounts.v1.AdoptionService/AdoptAccount",
        ADMINISTRATORS,
        Installation,
        |n| {
            let (location, foreign) = ("locations/NL".to_owned(), "somebody".to_owned());
            let (customer, plan) =
                (format!("customers/{}", n.customer), format!("plans/{}", n.plan));
            let request =
                pb::AdoptAccountRequest { location, foreign, customer, plan, ..Default::default() };
            request.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("ENGINE_UNSUPPORTED")),
];
