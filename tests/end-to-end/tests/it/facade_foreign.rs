//! A foreign account and a missing one: the same bytes, and no telling them apart by their time.

use std::time::{Duration, Instant};

use stowage_testkit::{Kit, Site};

/// An s3uid that nobody has.
const MISSING: &str = "00000000000000000000000000000000";
/// Calls of each kind.
const CALLS: usize = 1_000;

/// Actions that are timed, with what they need besides the account.
const ACTIONS: &[(&str, &[(&str, &str)])] = &[
    ("get_buckets_rmq", &[]),
    ("get_buckets", &[]),
    ("show_key", &[("s3_key", "secret_key")]),
    ("get_files", &[("bucket_name", "private")]),
    ("delete_bucket", &[("bucket_name", "private")]),
    ("delete_account", &[]),
    ("create_bucket", &[("bucket_name", "private-2")]),
    ("delete_file", &[("bucket_name", "private"), ("filename", "a")]),
    ("delete_payment_account", &[]),
    ("cancel_payment_account_deletion", &[]),
];

/// Times of calls, in order.
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }

    /// Whether the median lies between the quartiles of `other`.
    fn is_within(&self, other: &Self) -> bool {
        (other.at(25)..=other.at(75)).contains(&self.at(50))
    }

    fn text(&self) -> String {
        format!("{:?} {:?} {:?}", self.at(25), self.at(50), self.at(75))
    }
}

/// Calls with one id and with the other in turn, so that a slow moment falls on both.
async fn measure(
    site: &Site,
    token: &str,
    (action, rest): (&str, &[(&str, &str)]),
    ids: [&str; 2],
) -> [Times; 2] {
    let mut times = [Vec::with_capacity(CALLS), Vec::with_capacity(CALLS)];
    let mut bodies = [None, None];
    for turn in 0..CALLS {
        // Who goes first changes too: the second finds caches warm.
        for which in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
            let parameters = [&[("s3uid", ids[which])], rest].concat();
            let begun = Instant::now();
            let answer = site.facade.action(action, token, &parameters).await;
            times[which].push(begun.elapsed());
            let body = bodies[which].get_or_insert_with(|| answer.body.clone());
            assert_eq!(*body, answer.body, "{action}");
        }
    }
    assert_eq!(bodies[0], bodies[1], "{action}: not a byte differs");
    times.map(|mut times| {
        times.sort_unstable();
        Times(times)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn times_do_not_tell_a_foreign_account_from_a_missing_one() {
    let kit = Kit::start_with(|config| {
        config.gateway.facade.token_calls_per_second = 0;
        config.gateway.facade.address_calls_per_second = 0;
    })
    .await;
    let (plan_id, _) = kit.site.plans().await;
    let owner = kit.site.customer("owner@example.com", "EUR").await;
    let account = kit.site.order(&owner.token, plan_id, "private").await;
    let intruder = kit.site.customer("intruder@example.com", "EUR").await;
    kit.site.order(&intruder.token, plan_id, "his-own").await;
    let number = kit.site.accounts(&owner.token).await[0].account_id.to_string();
    let by_uid = [account.s3uid.as_str(), MISSING];
    // As `get_users` shows it; as many digits, so that both are read alike.
    let by_number = [number.as_str(), &"9".repeat(number.len())];
    for ((action, rest), ids) in ACTIONS.iter().flat_map(|of| [(of, by_uid), (of, by_number)]) {
        let [foreign, missing] = measure(&kit.site, &intruder.token, (action, rest), ids).await;
        let (foreign_text, missing_text) = (foreign.text(), missing.text());
        assert!(
            foreign.is_within(&missing) && missing.is_within(&foreign),
            "{action} {ids:?}: quartiles of a foreign account {foreign_text}, of a missing \
             {missing_text}"
        );
    }
    // The owner's own account is not what was compared.
    let s3uid = [("s3uid", account.s3uid.as_str())];
    kit.site.facade.action("get_buckets", &owner.token, &s3uid).await.success();
    kit.stop().await;
}
