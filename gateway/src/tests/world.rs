//! What the doubles know: two customers, one account each, an administrator, support staff.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use stowage_auth::{Principal, PrincipalRole, RequestContext, Signer, hash_token};
use stowage_proto::accounts::*;
use stowage_proto::common::{ErrorReason, PrincipalClaims};
use stowage_proto::{metering as meter, storage as store};
use stowage_runtime::status;
use stowage_types::{Currency, CustomerId, FakeClock, SystemRandom, timestamp};
use time::macros::datetime;
use tonic::{Code, Status};

use super::double::Double;
use super::doubles::{billing, metering, storage};
use crate::{Config, Deps, Gateway, build};

pub(crate) const OURS: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const FOREIGN: &str = "ffffffffffffffffffffffffffffffff";
pub(crate) const ABSENT: &str = "00000000000000000000000000000000";
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// What happened at the roles, and what they are to answer.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `AccountService/GetAccount as customers/1001`.
    pub(crate) calls: Vec<String>,
    pub(crate) request_ids: Vec<String>,
    /// Encoded requests, in the order of `calls`.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) orders: Vec<CreateAccountRequest>,
    pub(crate) rankings: Vec<meter::RankAccountsRequest>,
    pub(crate) listings: Vec<store::ListObjectsRequest>,
    pub(crate) awaited: Vec<meter::AwaitUsageRequest>,
    pub(crate) revoked: Vec<String>,
    pub(crate) fixed_addresses: Vec<String>,
    /// If set, the next order fails with it.
    pub(crate) order_failure: Option<Status>,
    /// If set, every call to storage fails with it.
    pub(crate) storage_failure: Option<Status>,
    /// If set, every message from outside fails with it.
    pub(crate) hook_failure: Option<Status>,
    /// Accounts that the ranking answers.
    pub(crate) ranked: Vec<i64>,
}

pub(crate) struct World {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) gateway: Gateway,
    pub(crate) signer: Signer,
}

pub(super) type Shared = Arc<Mutex<State>>;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let state = Shared::default();
        let clock = Arc::new(FakeClock::at(datetime!(2026-03-10 12:00 UTC)));
        let signer = Signer::from_seed(&[7; 32], "test", clock.clone());
        let verifier = signer.verifier();
        let accounts = sessions(Double::default(), &state, &signer);
        let deps = Deps {
            accounts: accounts_double(accounts, &state).channel("accounts", verifier.clone()),
            storage: storage(&state).channel("storage", verifier.clone()),
            billing: billing(&state).channel("billing", verifier.clone()),
            metering: metering(&state, &clock).channel("metering", verifier),
            signer: signer.clone(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            ready: vec![
                ("accounts", Arc::new(|| Box::pin(async { Ok(()) }))),
                ("storage", {
                    let state = Arc::clone(&state);
                    Arc::new(move || {
                        let failure = state.lock().unwrap().storage_failure.clone();
                        Box::pin(async move {
                            failure.map_or(Ok(()), |status| Err(status.message().to_owned()))
                        })
                    })
                }),
            ],
            metrics: Arc::new(|| "up 1\n".to_owned()),
        };
        Self { state, gateway: build(config, deps), clock, signer }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.gateway.answer(request, PEER).await
    }

    /// POSTs a form and gives status and body back.
    pub(crate) async fn post(&self, path: &str, form: &str) -> (u16, String) {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        read(self.send(request).await).await
    }

    pub(crate) async fn get(&self, uri: &str) -> (u16, String) {
        read(self.send(Request::get(uri).body(Body::empty()).unwrap()).await).await
    }

    pub(crate) fn calls_of(&self, method: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|call| call.starts_with(method)).count()
    }
}

pub(crate) async fn read(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// Makes a method that is written down before it answers.
pub(super) fn noted<Q, A>(
    state: &Shared,
    name: &'static str,
    answer: impl Fn(&RequestContext, Q, &mut State) -> Result<A, Status> + Send + Sync + 'static,
) -> impl Fn(&RequestContext, Q) -> Result<A, Status> + Send + Sync + 'static
where
    Q: prost::Message,
{
    let state = Arc::clone(state);
    move |cx, message| {
        let mut state = state.lock().unwrap();
        state.calls.push(format!("{name} as {}", cx.actor()));
        state.request_ids.push(cx.request_id.clone());
        state.messages.push(message.encode_to_vec());
        answer(cx, message, &mut state)
    }
}

pub(crate) fn fail<A>(code: Code, reason: ErrorReason, message: &str) -> Result<A, Status> {
    Err(status(code, reason, message).build())
}

fn no_account<A>() -> Result<A, Status> {
    fail(Code::NotFound, ErrorReason::AccountNotFound, "no such account")
}

fn no_token<A>() -> Result<A, Status> {
    fail(Code::Unauthenticated, ErrorReason::TokenInvalid, "token is not valid")
}

/// Who has a token.
pub(crate) fn principal(token: &str) -> Option<Principal> {
    let customer = |id: i64| Principal {
        role: PrincipalRole::Customer,
        subject: format!("customers/{id}"),
        customer: Some(CustomerId(id)),
        acted_for: None,
        currency: Currency::parse("EUR").ok(),
    };
    let other = |role, subject: &str| Principal {
        role,
        subject: subject.to_owned(),
        customer: None,
        acted_for: None,
        currency: None,
    };
    Some(match token {
        "one" | "issued" => customer(1001),
        "two" => customer(1002),
        "admin" => other(PrincipalRole::Administrator, "administrator"),
        "staff" => other(PrincipalRole::Staff, "staff"),
        _ => return None,
    })
}

fn sessions(double: Double, state: &Shared, signer: &Signer) -> Double {
    let signer = signer.clone();
    let resolve = move |cx: &RequestContext, q: ResolveTokenRequest, state: &mut State| {
        assert!(cx.is_service(), "only the gateway itself resolves tokens");
        assert_eq!(q.address, PEER.to_string());
        if state.revoked.contains(&q.token) {
            return no_token();
        }
        let Some(mut who) = principal(&q.token) else { return no_token() };
        if q.act_for_customer_id > 0 {
            if !(1001..=1002).contains(&q.act_for_customer_id) {
                return fail(Code::NotFound, ErrorReason::CustomerNotFound, "no such customer");
            }
            who.acted_for = Some(CustomerId(q.act_for_customer_id));
        }
        let (claims, assertion) = signer.sign(&who);
        let email = if who.customer.is_some() { "one@example.com" } else { "" };
        Ok(ResolveTokenResponse {
            claims: Some(claims),
            assertion,
            token_expire_time: Some(timestamp(datetime!(2026-03-10 15:00 UTC))),
            email: email.into(),
            currency: "EUR".into(),
        })
    };
    let login = |_: &RequestContext, q: LoginRequest, state: &mut State| {
        if q.api_key != "sk_good" {
            return fail(Code::Unauthenticated, ErrorReason::ApiKeyInvalid, "bad key");
        }
        state.fixed_addresses.push(q.fixed_address);
        let seconds = q.ttl.map_or(0, |ttl| ttl.seconds);
        Ok(LoginResponse {
            token: "issued".into(),
            expire_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            claims: Some(PrincipalClaims {
                role: PrincipalRole::Customer.into(),
                customer_id: 1001,
                ..PrincipalClaims::default()
            }),
            email: "one@example.com".into(),
        })
    };
    let logout = |_: &RequestContext, q: LogoutRequest, state: &mut State| {
        state.revoked.push(q.token);
        Ok(LogoutResponse {})
    };
    double
        .on("accounts", "SessionService/ResolveToken", noted(state, "ResolveToken", resolve))
        .on("accounts", "SessionService/Login", noted(state, "Login", login))
        .on("accounts", "SessionService/Logout", noted(state, "Logout", logout))
}

pub(crate) fn account(id: i64, customer: i64) -> Account {
    let s3uid = match id {
        1 => OURS.to_owned(),
        2 => FOREIGN.to_owned(),
        other => format!("{other:032x}"),
    };
    Account {
        name: format!("accounts/{s3uid}"),
        s3uid,
        account_id: id,
        customer: format!("customers/{customer}"),
        state: AccountState::Active.into(),
        endpoint: "http://nl.example".into(),
        quota_bytes: 10 << 30,
        order_id: 11,
        invoice_id: 12,
        service_id: 100 + id,
        currency: "EUR".into(),
        gb_bytes: 1 << 30,
        cancel_time: Some(timestamp(datetime!(2026-04-09 23:00 UTC))),
        ..Account::default()
    }
}

/// The account of that name, if the caller sees it.
pub(super) fn seen(cx: &RequestContext, name: &str) -> Result<Account, Status> {
    let own = match cx.customer() {
        Some(CustomerId(1001)) => "1",
        Some(CustomerId(1002)) => "2",
        _ => "",
    };
    let id = name.strip_prefix("accounts/").unwrap_or_default();
    let account = match if id == "-" { own } else { id } {
        "1" | OURS => account(1, 1001),
        "2" | FOREIGN => account(2, 1002),
        _ => return no_account(),
    };
    let owner = if account.account_id == 1 { 1001 } else { 1002 };
    if cx.sees(CustomerId(owner)) { Ok(account) } else { no_account() }
}

fn accounts_double(double: Double, state: &Shared) -> Double {
    let create = |_: &RequestContext, q: CreateAccountRequest, state: &mut State| {
        state.orders.push(q);
        state.order_failure.take().map_or_else(|| Ok(account(1, 1001)), Err)
    };
    let keys = |cx: &RequestContext, q: ListAccessKeysRequest, _: &mut State| {
        seen(cx, &q.parent)?;
        let secret_key = if q.with_secrets { "hush".into() } else { String::new() };
        let key = AccessKey { access_key: "AK".into(), secret_key, ..AccessKey::default() };
        Ok(ListAccessKeysResponse { access_keys: vec![key] })
    };
    let list = |_: &RequestContext, q: ListAccountsRequest, state: &mut State| {
        assert_eq!(usize::try_from(q.page_size).unwrap(), q.s3uids.len());
        let accounts = state.ranked.iter().map(|id| account(*id, 1001)).collect();
        Ok(ListAccountsResponse { accounts, next_page_token: String::new() })
    };
    let history = |_: &RequestContext, q: ListHistoryRequest, _: &mut State| {
        let entry = HistoryEntry {
            id: 9,
            create_time: Some(timestamp(datetime!(2026-03-01 8:30 UTC))),
            event: "plan.updated".into(),
            actor: "administrator".into(),
            old_json: r#"{"title":"A"}"#.into(),
            new_json: r#"{"title":"B"}"#.into(),
            ..HistoryEntry::default()
        };
        let entries = if q.plan == "plans/1" && q.skip == 0 { vec![entry] } else { Vec::new() };
        Ok(ListHistoryResponse { entries })
    };
    let customer = |_: &RequestContext, q: GetCustomerRequest, _: &mut State| {
        if q.name != "customers/1001" {
            return fail(Code::NotFound, ErrorReason::CustomerNotFound, "no such customer");
        }
        Ok(Customer { name: q.name, customer_id: 1001, ..Customer::default() })
    };
    double
        .on("accounts", "CustomerService/GetCustomer", noted(state, "GetCustomer", customer))
        .on("accounts", "AccountService/GetAccount", {
            noted(state, "GetAccount", |cx, q: GetAccountRequest, _| seen(cx, &q.name))
        })
        .on("accounts", "AccountService/CreateAccount", noted(state, "CreateAccount", create))
        .on("accounts", "AccountService/DeleteAccount", {
            noted(state, "DeleteAccount", |cx, q: DeleteAccountRequest, _| seen(cx, &q.name))
        })
        .on("accounts", "AccountService/ScheduleCancellation", {
            noted(state, "ScheduleCancellation", |cx, q: ScheduleCancellationRequest, _| {
                seen(cx, &q.name)
            })
        })
        .on("accounts", "AccountService/WithdrawCancellation", {
            noted(state, "WithdrawCancellation", |cx, q: WithdrawCancellationRequest, _| {
                seen(cx, &q.name)
            })
        })
        .on("accounts", "AccountService/BindRequest", {
            noted(state, "BindRequest", |cx, q: BindRequestRequest, _| {
                Ok(BindRequestResponse { name: seen(cx, &q.name)?.name })
            })
        })
        .on("accounts", "AccountService/ListAccessKeys", noted(state, "ListAccessKeys", keys))
        .on("accounts", "AccountService/ListAccounts", noted(state, "ListAccounts", list))
        .on("accounts", "AccountService/ListHistory", noted(state, "ListHistory", history))
}

/// SHA-256 of a token in hex, as events name tokens.
pub(crate) fn hash_text(token: &str) -> String {
    hash_token(token).bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
