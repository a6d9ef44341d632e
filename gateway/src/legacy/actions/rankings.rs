//! `get_users`: accounts by usage, as metering ranks them, joined with what accounts and billing
//! know of them. Each role is asked once for the whole page.

use std::collections::HashMap;

use stowage_proto::accounts::{Account, AccountView, GetCustomerRequest, ListAccountsRequest};
use stowage_proto::billing::{
    BatchGetSubscriptionsRequest, BillingPeriod, Subscription, SubscriptionState, SubscriptionView,
};
use stowage_proto::metering::{Dimensions, RankAccountsRequest, RankField, RankedAccount};
use stowage_types::{CustomerId, name, timestamp};
use time::{Date, Duration};

use super::{Call, Payload, state_text};
use crate::json::{Json, Object};
use crate::legacy::errors::Failure;
use crate::legacy::params as p;
use crate::legacy::units::{Units, amount, amount_with_decimal, day, moment, parse_day};

const LIMIT_DEFAULT: i32 = 50;

pub(crate) async fn get_users(call: &Call<'_>) -> Payload {
    let limit = call.small_int(&p::LIMIT, LIMIT_DEFAULT);
    let offset = call.small_int(&p::OFFSET, 0);
    let customer_id = call.int(&p::ID).unwrap_or_default();
    let message = ranking(call, customer_id, (limit, offset));
    let (ranked, total) = match message {
        Ok(message) => {
            let answer = call.metering().rank_accounts(call.request(message)).await?.into_inner();
            (answer.accounts, answer.total_size)
        }
        // A filter that names no account matches none.
        Err(failure) if failure.is_not_found() => (Vec::new(), 0),
        Err(failure) => return Err(failure),
    };
    if total == 0 && customer_id > 0 {
        // None of his, or none that he has: a customer who is not there is told apart.
        let request = GetCustomerRequest { name: name::customer(CustomerId(customer_id)) };
        call.customers().get_customer(call.request(request)).await?;
    }
    let accounts = accounts_of(call, &ranked).await?;
    let subscriptions = subscriptions_of(call, &accounts).await?;
    let rows: Vec<Json> = ranked
        .iter()
        .map(|row| {
            let dimensions = row.dimensions.clone().unwrap_or_default();
            let account = accounts.get(dimensions.s3uid.as_str());
            let subscription = account.and_then(|account| subscriptions.get(&account.service_id));
            user_row(row, &dimensions, account, subscription)
        })
        .collect();
    Ok(Object::new()
        .with("s3_users", rows)
        .with("total", total)
        .with("offset", i64::from(offset))
        .with("limit", i64::from(limit)))
}

fn ranking(
    call: &Call<'_>,
    customer_id: i64,
    (limit, offset): (i32, i32),
) -> Result<RankAccountsRequest, Failure> {
    let (s3uid, account_id) = call.account_filter()?;
    let period = Period::of(call)?;
    let field = match p::ORDER.choice(call.params) {
        Some("total_storage_peak_gb") => RankField::StoragePeak,
        _ => RankField::Traffic,
    };
    Ok(RankAccountsRequest {
        from_time: Some(timestamp(period.from.midnight().assume_utc())),
        to_time: Some(timestamp((period.to_included + Duration::DAY).midnight().assume_utc())),
        field: field.into(),
        ascending: p::ORDER_BY.choice(call.params) == Some("ASC"),
        skip: offset,
        page_size: limit,
        s3uid,
        account_id,
        customer_id,
        email: call.text(&p::EMAIL),
        plan_id: call.int(&p::PLAN_ID).unwrap_or_default(),
        location: call.text(&p::LOCATION).to_ascii_uppercase(),
        storage_type: call.text(&p::STORAGE_TYPE),
        billing: call.text(&p::BILLING),
        bucket: call.text(&p::BUCKET_NAME),
    })
}

/// The days of a ranking, both included.
#[derive(Debug, PartialEq, Eq)]
struct Period {
    from: Date,
    to_included: Date,
}

impl Period {
    fn of(call: &Call<'_>) -> Result<Self, Failure> {
        let day_of = |param: &p::Param| param.of(call.params).and_then(parse_day);
        let today = call.facade.clock.now().date();
        Self::new(day_of(&p::PERIOD_FROM), day_of(&p::PERIOD_TO), today)
            .ok_or_else(|| Failure::invalid(p::PERIOD_TO.name, "is before period_from"))
    }

    /// What is not given is the current month; where the given end lies elsewhere, its month.
    fn new(from: Option<Date>, to_included: Option<Date>, today: Date) -> Option<Self> {
        let first = |day: Date| day.replace_day(1).unwrap_or(day);
        let last = |day: Date| day.replace_day(day.month().length(day.year())).unwrap_or(day);
        let period = match (from, to_included) {
            (None, None) => Self { from: first(today), to_included: last(today) },
            (Some(from), None) => Self { from, to_included: last(today.max(from)) },
            (None, Some(to)) => Self { from: first(today.min(to)), to_included: to },
            (Some(from), Some(to_included)) => Self { from, to_included },
        };
        // The last day there is has no day after it.
        let has_end = period.to_included.next_day().is_some();
        (period.from <= period.to_included && has_end).then_some(period)
    }
}

async fn accounts_of(
    call: &Call<'_>,
    ranked: &[RankedAccount],
) -> Result<HashMap<String, Account>, Failure> {
    let s3uids: Vec<String> =
        ranked.iter().filter_map(|row| Some(row.dimensions.as_ref()?.s3uid.clone())).collect();
    if s3uids.is_empty() {
        return Ok(HashMap::new());
    }
    let page_size = i32::try_from(s3uids.len()).unwrap_or(i32::MAX);
    let view = AccountView::Basic.into();
    let message = ListAccountsRequest { page_size, page_token: String::new(), s3uids, view };
    let answer = call.accounts().list_accounts(call.request(message)).await?.into_inner();
    Ok(answer.accounts.into_iter().map(|account| (account.s3uid.clone(), account)).collect())
}

async fn subscriptions_of(
    call: &Call<'_>,
    accounts: &HashMap<String, Account>,
) -> Result<HashMap<i64, Subscription>, Failure> {
    let mut service_ids: Vec<i64> =
        accounts.values().map(|account| account.service_id).filter(|id| *id > 0).collect();
    if service_ids.is_empty() {
        return Ok(HashMap::new());
    }
    service_ids.sort_unstable();
    let message =
        BatchGetSubscriptionsRequest { service_ids, view: SubscriptionView::Basic.into() };
    let request = call.request(message);
    let answer = call.subscriptions().batch_get_subscriptions(request).await?.into_inner();
    Ok(answer.subscriptions.into_iter().map(|found| (found.service_id, found)).collect())
}

fn user_row(
    row: &RankedAccount,
    dimensions: &Dimensions,
    account: Option<&Account>,
    subscription: Option<&Subscription>,
) -> Json {
    let units = Units::of(dimensions.gb_bytes);
    Object::new()
        .with("id", dimensions.account_id)
        .with("s3uid", dimensions.s3uid.clone())
        .with("email", dimensions.email.clone())
        .with("region", dimensions.location.clone())
        .with("billing", dimensions.billing.clone())
        .with("currency", account.map(|account| account.currency.clone()))
        .with("traffic", units.mb(row.traffic_bytes))
        .with("storage_usage", units.mb(row.stored_bytes))
        .with("price", price(subscription))
        .with("service", subscription.map(|found| service(found, dimensions.account_id)))
        .with("plan_id", dimensions.plan_id)
        .with("storage_type", dimensions.storage_type.clone())
        .with("status", account.map(|account| state_text(account.state())))
        .with("total_traffic_period_gb", units.gb(row.traffic_bytes))
        .with("total_storage_peak_gb", units.gb(row.stored_bytes_peak))
        .with("as_of", moment(row.as_of_time.as_ref()))
        .into()
}

fn price(subscription: Option<&Subscription>) -> Object {
    let base = subscription.and_then(|found| found.base_price.as_ref()).map(amount_with_decimal);
    let own = subscription.and_then(|found| found.period_price.as_ref()).map(amount);
    Object::new().with("base_price", base).with("price", own)
}

fn service(subscription: &Subscription, account_id: i64) -> Object {
    let period = match subscription.period() {
        BillingPeriod::Monthly | BillingPeriod::Unspecified => "monthly",
        BillingPeriod::Yearly => "yearly",
    };
    let status = match subscription.state() {
        SubscriptionState::Unspecified => "unknown",
        SubscriptionState::Pending => "pending",
        SubscriptionState::Active => "active",
        SubscriptionState::Cancelled => "cancelled",
        SubscriptionState::Terminated => "terminated",
    };
    Object::new()
        .with("id", subscription.service_id)
        .with("entity_id", account_id)
        .with("service_ident", subscription.s3uid.clone())
        .with("period", period)
        .with("period_start", day(subscription.period_start_time.as_ref()))
        .with("period_end", day(subscription.period_end_time.as_ref()))
        .with("next_commit_date", day(subscription.next_charge_time.as_ref()))
        .with("status", status)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn a_period_is_whole_days_and_the_current_month_by_default() {
        let today = date!(2026 - 02 - 10);
        for (from, to, expected) in [
            (None, None, Some((date!(2026 - 02 - 01), date!(2026 - 02 - 28)))),
            (
                Some(date!(2026 - 01 - 15)),
                None,
                Some((date!(2026 - 01 - 15), date!(2026 - 02 - 28))),
            ),
            (
                Some(date!(2026 - 03 - 15)),
                None,
                Some((date!(2026 - 03 - 15), date!(2026 - 03 - 31))),
            ),
            (
                None,
                Some(date!(2026 - 01 - 15)),
                Some((date!(2026 - 01 - 01), date!(2026 - 01 - 15))),
            ),
            (
                Some(date!(2026 - 01 - 15)),
                Some(date!(2026 - 01 - 15)),
                Some((date!(2026 - 01 - 15), date!(2026 - 01 - 15))),
            ),
            (Some(date!(2026 - 01 - 16)), Some(date!(2026 - 01 - 15)), None),
            (Some(today), Some(Date::MAX), None),
        ] {
            let period = Period::new(from, to, today).map(|p| (p.from, p.to_included));
            assert_eq!(period, expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn an_account_without_a_subscription_has_no_service() {
        let dimensions = Dimensions { account_id: 5, s3uid: "u".into(), ..Dimensions::default() };
        let row = user_row(&RankedAccount::default(), &dimensions, None, None);
        let text = String::from_utf8(Object::new().with("row", row).to_bytes()).unwrap();
        assert!(text.contains(r#""service":null"#), "{text}");
        assert!(text.contains(r#""price":{"base_price":null,"price":null}"#), "{text}");
    }
}
