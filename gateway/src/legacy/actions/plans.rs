//! `list_plans`.

use stowage_proto::Money;
use stowage_proto::billing::{GetPlanRequest, ListPlansRequest, Plan, PlanPrice};
use stowage_types::{PlanId, name};

use super::{Call, Payload};
use crate::json::{Json, Object};
use crate::legacy::catalogue::Asked;
use crate::legacy::errors::Failure;
use crate::legacy::params::{ID, LOCATION};
use crate::legacy::units::{amount, amount_with_decimal};

/// As many as billing sends in one page.
const PAGE_SIZE: i32 = 1000;

/// Most pages that are read: the facade does not page, and a catalogue is small.
const PAGES_MAX: usize = 10;

/// What is sold, as far as the caller sees it. Only the provider's people pick one by `id`.
pub(crate) async fn list_plans(call: &Call<'_>) -> Payload {
    if let Some(id) = call.int(&ID).filter(|_| !call.is_customer()) {
        let plan = get_plan(call, PlanId(id)).await?;
        return Ok(Object::new().with("plans", vec![plan_row(&plan)]));
    }
    let location = if LOCATION.of(call.params).is_some() { call.location() } else { String::new() };
    let asked = Asked {
        role: call.who.role.into(),
        customer_id: call.who.customer_id.max(call.who.acted_for),
        location,
    };
    let (catalogue, now) = (&call.facade.catalogue, call.facade.clock.now());
    let plans = match catalogue.recall(&asked, now) {
        Ok(plans) => plans,
        Err(generation) => {
            let plans = all_plans(call, &asked.location).await?;
            let plans = Json::List(plans.iter().map(plan_row).collect()).to_text();
            catalogue.keep(asked, &plans, (generation, now));
            plans
        }
    };
    Ok(Object::new().with("plans", Json::Raw(plans)))
}

/// The plan as the caller sees it.
pub(super) async fn get_plan(call: &Call<'_>, id: PlanId) -> Result<Plan, Failure> {
    let request = call.request(GetPlanRequest { name: name::plan(id), version: 0 });
    Ok(call.plans().get_plan(request).await?.into_inner())
}

async fn all_plans(call: &Call<'_>, location: &str) -> Result<Vec<Plan>, Failure> {
    let mut plans = Vec::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let message =
            ListPlansRequest { page_size: PAGE_SIZE, page_token, location: location.to_owned() };
        let page = call.plans().list_plans(call.request(message)).await?.into_inner();
        if plans.is_empty() {
            plans = page.plans;
        } else {
            plans.extend(page.plans);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(plans)
}

fn plan_row(plan: &Plan) -> Json {
    let prices = plan.prices.iter().fold(Object::new(), |prices, price| {
        with_price(prices, price.period_price.as_ref(), Case::Upper)
    });
    let overage = |of: fn(&PlanPrice) -> Option<&Money>| {
        plan.prices
            .iter()
            .fold(Object::new(), |prices, price| with_price(prices, of(price), Case::Lower))
    };
    let base_price = plan.base_price.as_ref().map(amount_with_decimal);
    Object::new()
        .with("id", plan.plan_id)
        .with("name", plan.title.clone())
        .with("active", i64::from(plan.active))
        .with("storage_type", plan.storage_type.clone())
        .with("location", bare(&plan.location, "locations/"))
        .with("price", Object::new().with("base_price", base_price).with("price", prices))
        .with("traffic_overage_price", overage(|price| price.traffic_overage_price.as_ref()))
        .with("storage_overage_price", overage(|price| price.storage_overage_price.as_ref()))
        .into()
}

/// Clients in the field expect currency codes in upper case here and in lower case there.
#[derive(Clone, Copy)]
enum Case {
    Upper,
    Lower,
}

fn with_price(prices: Object, money: Option<&Money>, case: Case) -> Object {
    let Some(money) = money else { return prices };
    let currency = match case {
        Case::Upper => money.currency_code.to_ascii_uppercase(),
        Case::Lower => money.currency_code.to_ascii_lowercase(),
    };
    prices.with(currency, amount(money))
}

/// What follows the collection in a name: `NL` of `locations/NL`.
pub(super) fn bare(name: &str, collection: &str) -> String {
    name.strip_prefix(collection).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_written_as_the_reference_shows_it() {
        let money =
            |code: &str, units, nanos| Some(Money { currency_code: code.into(), units, nanos });
        let price =
            |code: &str, period: (i64, i32), storage: (i64, i32), traffic: (i64, i32)| PlanPrice {
                period_price: money(code, period.0, period.1),
                storage_overage_price: money(code, storage.0, storage.1),
                traffic_overage_price: money(code, traffic.0, traffic.1),
            };
        let plan = Plan {
            plan_id: 1,
            title: "Standard S3 Plan".into(),
            active: true,
            storage_type: "standard".into(),
            location: "locations/NL".into(),
            base_price: money("", 10, 0),
            prices: vec![
                price("USD", (10, 500_000_000), (0, 50_000_000), (0, 10_000_000)),
                price("EUR", (9, 800_000_000), (0, 50_000_000), (0, 10_000_000)),
                price("RUB", (950, 0), (5, 0), (1, 0)),
            ],
            ..Plan::default()
        };
        let text = Object::new().with("plan", plan_row(&plan)).to_bytes();
        let expected = concat!(
            r#"{"plan":{"id":1,"name":"Standard S3 Plan","active":1,"storage_type":"standard","#,
            r#""location":"NL","price":{"base_price":10.0,"#,
            r#""price":{"USD":10.5,"EUR":9.8,"RUB":950}},"#,
            r#""traffic_overage_price":{"usd":0.01,"eur":0.01,"rub":1},"#,
            r#""storage_overage_price":{"usd":0.05,"eur":0.05,"rub":5}}}"#
        );
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
