//! `AccountService`.

use std::time::Duration;

use stowage_auth::RequestContext;
use stowage_proto::accounts::{self as pb, AccountView};
use stowage_request::Once;
use stowage_types::{
    BucketName, ExposeSecret as _, Malformed, S3uid, Violations, name, page, timestamp,
};
use tonic::{Request, Response, Status, async_trait};

use super::{PAGE_DEFAULT, PAGE_MAX, Service, read_page};
use crate::domain::access_key::{AccessKey, With};
use crate::domain::account::{Account, Lookup};
use crate::domain::brief::Brief;
use crate::domain::cap::Cap;
use crate::domain::history::{Filter, Recorded};
use crate::domain::life::{Cost, Hold, State};
use crate::domain::order::NewOrder;
use crate::error::Error;

const LISTING: &str = "accounts";
const DEFAULT_LOCATION: &str = "locations/NL";
const ACTION_CHARS_MAX: usize = 64;
const ACCESS_KEY_CHARS_MAX: usize = 128;
/// Longest time that two keys of an account work.
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 86_400);
const REASON_CHARS_MAX: usize = 1000;
const S3UIDS_MAX: usize = 1000;
const SKIP_MAX: i32 = 100_000;

#[async_trait]
impl pb::account_service_server::AccountService for Service {
    async fn create_account(
        &self,
        request: Request<pb::CreateAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let work = async |cx, order, once| self.domain.create_account(&cx, order, &once).await;
        self.domain.requests.once(request, NewOrder::try_from, work).await
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let cx = RequestContext::of(&request)?;
        let lookup = read_lookup(&request.into_inner().name)?;
        let account = self.domain.get_account(&cx, lookup).await?;
        Ok(Response::new(account.into()))
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let s3uids = read_s3uids(&request.s3uids)?;
        let scope = request.s3uids.join(",");
        let (after, size) =
            read_page::<i64>((LISTING, &scope), request.page_size, &request.page_token)?;
        let from = (after.unwrap_or(0), size);
        let page = match request.view() {
            AccountView::Unspecified | AccountView::Full => {
                self.domain.list_accounts(&cx, &s3uids, from).await?.map(pb::Account::from)
            }
            AccountView::Basic => {
                self.domain.list_briefs(&cx, &s3uids, from).await?.map(pb::Account::from)
            }
        };
        let last = page.rows.last().filter(|_| !page.is_last);
        let next_page_token = last
            .map(|row| page::encode(LISTING, &scope, &row.account_id.to_string()))
            .unwrap_or_default();
        let accounts = page.rows;
        Ok(Response::new(pb::ListAccountsResponse { accounts, next_page_token }))
    }

    async fn delete_account(
        &self,
        request: Request<pb::DeleteAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let read = |pb::DeleteAccountRequest { name, reason, .. }| {
            Ok((read_named(&name, &reason)?, reason))
        };
        let work = async |cx, (lookup, reason), once| {
            self.domain.delete_account(&cx, lookup, reason, &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn schedule_cancellation(
        &self,
        request: Request<pb::ScheduleCancellationRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let read = |pb::ScheduleCancellationRequest { name, reason, .. }| {
            Ok((read_named(&name, &reason)?, reason))
        };
        let work = async |cx, (lookup, reason): (Lookup, String), once| {
            self.domain.schedule_cancellation(&cx, lookup, &reason, &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn withdraw_cancellation(
        &self,
        request: Request<pb::WithdrawCancellationRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let read = |request: pb::WithdrawCancellationRequest| read_named(&request.name, "");
        let work =
            async |cx, lookup, once| self.domain.withdraw_cancellation(&cx, lookup, &once).await;
        self.domain.requests.once(request, read, work).await
    }

    async fn suspend_account(
        &self,
        request: Request<pb::SuspendAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let read = |request: pb::SuspendAccountRequest| {
            let hold = match request.cause() {
                pb::SuspensionCause::Unpaid => Hold::Unpaid,
                pb::SuspensionCause::Unspecified | pb::SuspensionCause::Administrator => {
                    Hold::Administrator
                }
            };
            Ok((read_named(&request.name, &request.reason)?, (hold, request.reason)))
        };
        let work = async |cx, (lookup, why): (Lookup, (Hold, String)), once| {
            self.domain.suspend_account(&cx, lookup, why, &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn resume_account(
        &self,
        request: Request<pb::ResumeAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let read = |pb::ResumeAccountRequest { name, reason, .. }| {
            Ok((read_named(&name, &reason)?, reason))
        };
        let work = async |cx, (lookup, reason): (Lookup, String), once| {
            self.domain.resume_account(&cx, lookup, reason, &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn change_account_plan(
        &self,
        request: Request<pb::ChangeAccountPlanRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let read = |pb::ChangeAccountPlanRequest { name, plan, .. }| {
            let plan = name::parse_plan(&plan).map_err(|bad| Error::field("plan", &bad.why))?;
            Ok((read_named(&name, "")?, plan))
        };
        let work = async |cx, (lookup, plan), once| {
            self.domain.change_account_plan(&cx, lookup, plan, &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn rotate_access_key(
        &self,
        request: Request<pb::RotateAccessKeyRequest>,
    ) -> Result<Response<pb::AccessKey>, Status> {
        let read = |pb::RotateAccessKeyRequest { name, overlap, .. }| {
            let overlap = overlap.map(read_overlap).transpose()?;
            Ok((read_named(&name, "")?, overlap))
        };
        let work = async |cx, (lookup, overlap), once| {
            self.domain.rotate_access_key(&cx, lookup, overlap, &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn revoke_access_key(
        &self,
        request: Request<pb::RevokeAccessKeyRequest>,
    ) -> Result<Response<pb::AccessKey>, Status> {
        let read = |pb::RevokeAccessKeyRequest { name, access_key, .. }| {
            let mut violations = Violations::default();
            violations.check_length("access_key", &access_key, ACCESS_KEY_CHARS_MAX);
            violations.finish()?;
            Ok((read_named(&name, "")?, access_key))
        };
        let work = async |cx, (lookup, access_key): (Lookup, String), once| {
            self.domain.revoke_access_key(&cx, lookup, &access_key, &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn bind_request(
        &self,
        request: Request<pb::BindRequestRequest>,
    ) -> Result<Response<pb::BindRequestResponse>, Status> {
        let read = |pb::BindRequestRequest { name, action, .. }| {
            let mut violations = Violations::default();
            match action.as_str() {
                "" => violations.push("action", "is empty"),
                _ => violations.check_length("action", &action, ACTION_CHARS_MAX),
            }
            violations.finish()?;
            read_named(&name, "")
        };
        let work = async |cx, lookup, _once: Once<_>| {
            let s3uid = self.domain.bind_request(&cx, lookup).await?;
            Ok::<_, Error>(pb::BindRequestResponse { name: name::account(&s3uid) })
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn list_access_keys(
        &self,
        request: Request<pb::ListAccessKeysRequest>,
    ) -> Result<Response<pb::ListAccessKeysResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::ListAccessKeysRequest { parent, with_secrets, with_usage } = request.into_inner();
        let s3uid = read_account("parent", &parent)?;
        let with = With { secrets: with_secrets, usage: with_usage };
        let keys = self.domain.list_access_keys(&cx, s3uid, with).await?;
        let access_keys = keys.into_iter().map(pb::AccessKey::from).collect();
        Ok(Response::new(pb::ListAccessKeysResponse { access_keys }))
    }

    async fn list_history(
        &self,
        request: Request<pb::ListHistoryRequest>,
    ) -> Result<Response<pb::ListHistoryResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let filter = Filter::try_from(request.into_inner())?;
        let entries = self.domain.list_history(&cx, filter).await?;
        let entries = entries.into_iter().map(pb::HistoryEntry::from).collect();
        Ok(Response::new(pb::ListHistoryResponse { entries }))
    }
}

/// `accounts/{s3uid}`. A well-formed name that is not an s3uid is the name of no account, and
/// answered like one that is not there.
fn read_account(field: &str, name: &str) -> Result<S3uid, Error> {
    let id = name.strip_prefix("accounts/");
    let id = id.ok_or_else(|| Error::field(field, "is not the name of an account"))?;
    S3uid::parse(id).map_err(|_| Error::AccountNotFound)
}

/// The account that a call changes, and the text of a reason. It is named, never guessed.
pub(super) fn read_named(name: &str, reason: &str) -> Result<Lookup, Error> {
    let mut violations = Violations::default();
    violations.check_length("reason", reason, REASON_CHARS_MAX);
    if !name.starts_with("accounts/") {
        violations.push("name", "is not the name of an account");
    }
    violations.finish()?;
    match read_lookup(name)? {
        Lookup::Only => Err(Error::AccountNotFound),
        lookup => Ok(lookup),
    }
}

/// How long a key goes on beside its successor.
fn read_overlap(wire: prost_types::Duration) -> Result<Duration, Error> {
    let overlap = Duration::try_from(wire).ok().filter(|overlap| *overlap <= OVERLAP_MAX);
    overlap.ok_or_else(|| Error::field("overlap", "is not between 0 and 30 days"))
}

fn read_lookup(name: &str) -> Result<Lookup, Error> {
    let id = name.strip_prefix("accounts/");
    let id = id.ok_or_else(|| Error::field("name", "is not the name of an account"))?;
    if id == "-" {
        return Ok(Lookup::Only);
    }
    if let Ok(s3uid) = S3uid::parse(id) {
        return Ok(Lookup::S3uid(s3uid));
    }
    id.parse().map(Lookup::Number).map_err(|_| Error::AccountNotFound)
}

fn read_s3uids(texts: &[String]) -> Result<Vec<S3uid>, Error> {
    if texts.len() > S3UIDS_MAX {
        return Err(Error::field("s3uids", "has more than 1000 items"));
    }
    let mut violations = Violations::default();
    let mut s3uids = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        s3uids.extend(violations.check(&format!("s3uids[{index}]"), S3uid::parse(text)));
    }
    violations.finish()?;
    Ok(s3uids)
}

impl TryFrom<pb::CreateAccountRequest> for NewOrder {
    type Error = Error;

    fn try_from(request: pb::CreateAccountRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let location = match request.location.as_str() {
            "" => DEFAULT_LOCATION,
            location => location,
        };
        let plan = violations.check("plan", name::parse_plan(&request.plan));
        let location = violations.check("location", name::parse_location(location));
        let bucket = violations.check("bucket", BucketName::new(&request.bucket));
        violations.finish()?;
        match (plan, location, bucket) {
            (Some(plan), Some(location), Some(bucket)) => Ok(Self { plan, location, bucket }),
            _ => Err(Error::internal("a checked field is missing")),
        }
    }
}

impl TryFrom<pb::ListHistoryRequest> for Filter {
    type Error = Error;

    fn try_from(request: pb::ListHistoryRequest) -> Result<Self, Error> {
        fn given<T>(
            text: &str,
            parse: impl Fn(&str) -> Result<T, Malformed>,
        ) -> Result<Option<T>, Malformed> {
            if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
        }
        let mut violations = Violations::default();
        let size = page::size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        if !(0..=SKIP_MAX).contains(&request.skip) {
            violations.push("skip", "is not between 0 and 100000");
        }
        let plan = violations.check("plan", given(&request.plan, name::parse_plan));
        let account = violations.check("account", given(&request.account, name::parse_account));
        violations.finish()?;
        Ok(Self {
            plan: plan.flatten(),
            account: account.flatten(),
            seen_by: None,
            with_reads: request.with_reads,
            size,
            skip: i64::from(request.skip),
        })
    }
}

impl From<Account> for pb::Account {
    fn from(account: Account) -> Self {
        let cause = match account.hold {
            Hold::Nothing | Hold::Ended => pb::SuspensionCause::Unspecified,
            Hold::Administrator => pb::SuspensionCause::Administrator,
            Hold::ReadOnly | Hold::Unpaid => pb::SuspensionCause::Unpaid,
        };
        let cap = match account.capped.cap {
            None => pb::AccountCap::Unspecified,
            Some(Cap::Storage) => pb::AccountCap::Storage,
            Some(Cap::Traffic) => pb::AccountCap::Traffic,
        };
        let cost = match account.state.cost() {
            Cost::Nothing => pb::AccountCost::Unspecified,
            Cost::PlanAndUse => pb::AccountCost::PlanAndUse,
            Cost::PlanAndStorage => pb::AccountCost::PlanAndStorage,
        };
        Self {
            name: name::account(&account.s3uid),
            s3uid: account.s3uid.to_string(),
            account_id: account.account_id,
            customer: name::customer(account.customer),
            plan: name::plan(account.plan),
            plan_version: account.plan_version,
            location: name::location(&account.location),
            storage_type: account.storage_type,
            state: pb::AccountState::from(account.state).into(),
            endpoint: account.endpoint,
            quota_bytes: account.quota_bytes,
            bucket_max: account.bucket_max,
            key_max: account.key_max,
            subscription: subscription_name(account.service_id),
            order_id: account.order_id,
            invoice_id: account.invoice_id,
            service_id: account.service_id,
            billing: account.billing,
            email: account.email,
            currency: account.currency.to_string(),
            create_time: Some(timestamp(account.create_time)),
            cancel_time: account.cancel_time.map(timestamp),
            gb_bytes: account.gb_bytes,
            suspension_cause: cause.into(),
            cost: cost.into(),
            cap: cap.into(),
            delete_time: account.delete_time.map(timestamp),
            unpaid_end_time: account.unpaid_end_time.map(timestamp),
        }
    }
}

impl From<Brief> for pb::Account {
    fn from(brief: Brief) -> Self {
        Self {
            name: name::account(&brief.s3uid),
            s3uid: brief.s3uid.to_string(),
            account_id: brief.account_id,
            customer: name::customer(brief.customer),
            state: pb::AccountState::from(brief.state).into(),
            subscription: subscription_name(brief.service_id),
            service_id: brief.service_id,
            currency: brief.currency.to_string(),
            ..Self::default()
        }
    }
}

impl From<State> for pb::AccountState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Active => Self::Active,
            State::ReadOnly => Self::ReadOnly,
            State::Suspended => Self::Suspended,
            State::Ended => Self::Ended,
            State::Failed => Self::Failed,
            State::Deleting => Self::Deleting,
            State::Deleted => Self::Deleted,
        }
    }
}

/// Empty without one.
fn subscription_name(service_id: i64) -> String {
    match service_id {
        0 => String::new(),
        id => name::subscription(id),
    }
}

impl From<AccessKey> for pb::AccessKey {
    fn from(key: AccessKey) -> Self {
        Self {
            access_key: key.access_key,
            secret_key: key.secret_key.map(|s| s.expose_secret().to_owned()).unwrap_or_default(),
            create_time: key.create_time.map(timestamp),
            revoke_time: key.revoke_time.map(timestamp),
            last_use_time: key.last_use_time.map(timestamp),
        }
    }
}

impl From<Recorded> for pb::HistoryEntry {
    fn from(recorded: Recorded) -> Self {
        let Recorded { id, create_time, entry } = recorded;
        Self {
            id,
            create_time: Some(timestamp(create_time)),
            event: entry.event,
            actor: entry.cause.text(),
            s3uid: entry.s3uid,
            old_json: entry.old_json,
            new_json: entry.new_json,
        }
    }
}
