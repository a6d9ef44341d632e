//! Rankings, files by page, and fresh figures.

use std::sync::MutexGuard;

use stowage_proto::metering::RankField;
use stowage_types::{from_timestamp, timestamp};
use time::macros::datetime;

use super::world::{OURS, State, World};

fn state(world: &World) -> MutexGuard<'_, State> {
    world.state.lock().unwrap()
}

#[tokio::test]
async fn a_ranking_is_joined_in_three_calls_whatever_its_length() {
    let world = World::new();
    state(&world).ranked = (1..=200).collect();
    let (_, text) = world.get("/s3/get_users?token=admin&limit=200").await;
    let row = format!(
        concat!(
            r#"{{"id":1,"s3uid":"{}","email":"one@example.com","region":"NL","billing":"ledger","#,
            r#""currency":"EUR","traffic":1536,"storage_usage":1,"#,
            r#""price":{{"base_price":10.0,"price":9.8}},"service":{{"id":101,"entity_id":1,"#,
            r#""service_ident":"{}","period":"monthly","period_start":"2026-03-09","#,
            r#""period_end":"2026-04-09","next_commit_date":null,"status":"active"}},"#,
            r#""plan_id":1,"storage_type":"standard","status":"active","#,
            r#""total_traffic_period_gb":1.500000,"total_storage_peak_gb":1.000000,"#,
            r#""as_of":"2026-03-10T11:59:00Z"}}"#
        ),
        OURS, OURS
    );
    let head = r#"{"result":"OK","action":"get_users","s3_users":["#;
    assert!(text.starts_with(&format!("{head}{row},")), "{text}");
    assert!(text.ends_with(r#"],"total":200,"offset":0,"limit":200}"#), "{text}");
    let calls = state(&world).calls.clone();
    let asked: Vec<&str> = calls.iter().map(|call| call.split(' ').next().unwrap()).collect();
    assert_eq!(asked, ["ResolveToken", "RankAccounts", "ListAccounts", "Batch"]);
}

#[tokio::test]
async fn filters_reach_the_ranking() {
    let world = World::new();
    let uri = "/s3/get_users?token=admin&id=1001&plan_id=3&account_id=9&email=a@b.c&billing=ledger\
               &bucket=photos&location=nl&storage_type=cold&period_from=2026-01-02\
               &period_to=2026-01-03&offset=5&limit=7&order=total_storage_peak_gb&order_by=asc";
    let (_, text) = world.get(uri).await;
    assert!(text.ends_with(r#""s3_users":[],"total":0,"offset":5,"limit":7}"#), "{text}");
    let asked = state(&world).rankings.pop().unwrap();
    assert_eq!(asked.from_time, Some(timestamp(datetime!(2026-01-02 0:00 UTC))));
    assert_eq!(asked.to_time, Some(timestamp(datetime!(2026-01-04 0:00 UTC))));
    assert_eq!((asked.customer_id, asked.plan_id, asked.account_id), (1001, 3, 9));
    assert_eq!((asked.skip, asked.page_size, asked.ascending), (5, 7, true));
    assert_eq!(asked.field(), RankField::StoragePeak);
    let texts = [asked.email, asked.billing, asked.bucket, asked.location, asked.storage_type];
    assert_eq!(texts, ["a@b.c", "ledger", "photos", "NL", "cold"]);
    // Nobody acts for the customer, so that no token is resolved for him.
    let calls = state(&world).calls.clone();
    let expected = ["RankAccounts as administrator", "GetCustomer as administrator"];
    assert_eq!(calls[1..], expected.map(str::to_owned));
}

#[tokio::test]
async fn a_ranking_without_filters_is_of_this_month_by_traffic() {
    let world = World::new();
    world.get(&format!("/s3/get_users?token=one&s3uid={OURS}")).await;
    let asked = state(&world).rankings.pop().unwrap();
    assert_eq!(asked.from_time, Some(timestamp(datetime!(2026-03-01 0:00 UTC))));
    assert_eq!(asked.to_time, Some(timestamp(datetime!(2026-04-01 0:00 UTC))));
    assert_eq!((asked.s3uid.as_str(), asked.page_size, asked.ascending), (OURS, 50, false));
    assert_eq!((asked.field(), asked.customer_id), (RankField::Traffic, 0));
    let (_, text) = world.get("/s3/get_users?token=one&s3uid=nonsense").await;
    assert!(text.contains(r#""s3_users":[],"total":0"#), "{text}");
    let uri = "/s3/get_users?token=one&period_from=2026-02-02&period_to=2026-02-01";
    let (_, text) = world.get(uri).await;
    assert!(text.contains("period_to invalid"), "{text}");
}

#[tokio::test]
async fn files_come_by_token_or_by_page() {
    let world = World::new();
    for (rest, key, truncated) in [
        ("", "k1", true),
        ("page=1", "k1", true),
        ("page=3", "k3", false),
        ("continuation_token=2", "k2", true),
        ("continuation_token=2&page=3", "k2", true),
    ] {
        let uri = format!("/s3/get_files?token=one&bucket=photos&limit=1&{rest}");
        let (_, text) = world.get(&uri).await;
        assert!(text.contains(&format!(r#""key":"{key}""#)), "{rest}: {text}");
        assert!(text.contains(&format!(r#""is_truncated":{truncated}"#)), "{rest}: {text}");
    }
    let (_, text) = world.get("/s3/get_files?token=one&bucket=photos&page=9").await;
    assert!(text.contains(r#""files":[],"folders":[],"key_count":0,"is_truncated":false"#));
    state(&world).listings.clear();
    world.get("/s3/get_files?token=one&bucket=photos&prefix=a/&search=Cat&max_keys=500").await;
    let asked = state(&world).listings.pop().unwrap();
    let expected = format!("accounts/{OURS}/buckets/photos");
    assert_eq!((asked.parent, asked.page_size), (expected, 100));
    assert_eq!((asked.prefix.as_str(), asked.search.as_str()), ("a/", "Cat"));
}

#[tokio::test]
async fn fresh_figures_are_those_that_metering_has_of_what_storage_collected() {
    let world = World::new();
    let form = format!("token=admin&s3uid={OURS}");
    let (_, text) = world.post("/s3/update_traffic_info", &form).await;
    assert!(text.ends_with(r#""as_of":"2026-03-10T12:00:00Z"}"#), "{text}");
    let asked = state(&world).awaited.pop().unwrap();
    let collect_time = from_timestamp(&asked.collect_time.unwrap()).unwrap();
    assert_eq!(collect_time, datetime!(2026-03-10 11:58 UTC));
    assert_eq!((asked.stored_bytes, asked.object_count, asked.s3uid.as_str()), (1, 2, OURS));
    let (_, text) = world.post("/s3/update_traffic_info", "token=one&s3uid=1").await;
    assert!(text.contains("access denied"), "{text}");
}
