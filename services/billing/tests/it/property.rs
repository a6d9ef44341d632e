//! Any sequence of calls, with any answers lost on the way.

use std::collections::HashSet;

use proptest::prelude::*;
use stowage_db::args;
use stowage_proto::billing as pb;
use tonic::Code;

use crate::kit::{Kit, order};
use crate::provider_trouble::Trouble;

const CUSTOMERS: i64 = 2;
const KEYS: i64 = 6;
const FREE: i64 = 2;

#[derive(Debug, Clone, Copy)]
enum Call {
    Place,
    Activate,
    Undo,
    Terminate,
    Schedule,
    Withdraw,
}

fn call() -> impl Strategy<Value = (Call, i64, Option<Trouble>)> {
    let what = prop_oneof![
        3 => Just(Call::Place),
        2 => Just(Call::Activate),
        1 => Just(Call::Undo),
        1 => Just(Call::Terminate),
        1 => Just(Call::Schedule),
        1 => Just(Call::Withdraw),
    ];
    let trouble = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Trouble::LosesAnswer)),
        1 => Just(Some(Trouble::IsAway)),
        1 => Just(Some(Trouble::Refuses)),
    ];
    (what, 0..KEYS, trouble)
}

/// Makes one call; `Ok` when it succeeded.
async fn make(kit: &Kit, what: Call, number: i64) -> Result<(), tonic::Status> {
    let mut sagas = kit.sagas();
    let order_key = format!("k{number}");
    let name = format!("subscriptions/{}", number + 1);
    match what {
        Call::Place => {
            let order = order(&order_key, 7 + number % CUSTOMERS, FREE);
            sagas.place_order(order).await.map(|_| ())
        }
        Call::Activate => {
            let request = pb::ActivateSubscriptionRequest { order_key };
            sagas.activate_subscription(request).await.map(|_| ())
        }
        Call::Undo => sagas.undo_order(pb::UndoOrderRequest { order_key }).await.map(|_| ()),
        Call::Terminate => {
            let request = pb::TerminateSubscriptionRequest { name };
            sagas.terminate_subscription(request).await.map(|_| ())
        }
        Call::Schedule => {
            let request = pb::ScheduleSubscriptionCancellationRequest { name };
            sagas.schedule_cancellation(request).await.map(|_| ())
        }
        Call::Withdraw => {
            let request = pb::WithdrawSubscriptionCancellationRequest { name };
            sagas.withdraw_cancellation(request).await.map(|_| ())
        }
    }
}

async fn count(kit: &Kit, sql: &'static str) -> i64 {
    let (count,): (i64,) = kit.db.fetch_one(sql, args![]).await.unwrap();
    count
}

/// What must hold after every call.
async fn check(kit: &Kit, spent: &HashSet<i64>) {
    let over = "SELECT count(*) FROM (SELECT customer_id FROM subscription WHERE state IN \
        ('ordering', 'pending', 'active') GROUP BY customer_id HAVING count(*) > 1) AS o";
    assert_eq!(count(kit, over).await, 0, "a customer holds two free accounts");
    let unknown = "SELECT count(*) FROM ledger_order l LEFT JOIN subscription s \
        ON s.order_key = l.order_key WHERE s.order_key IS NULL AND l.state <> 'undone'";
    assert_eq!(count(kit, unknown).await, 0, "the ledger has an order that billing has not");
    let disagree = "SELECT count(*) FROM subscription s JOIN ledger_order l \
        ON l.order_key = s.order_key WHERE s.state IN ('active', 'terminated', 'cancelled') \
        AND l.state NOT IN (CASE s.state WHEN 'cancelled' THEN 'undone' ELSE s.state END, \
        'terminated', 'undone')";
    assert_eq!(count(kit, disagree).await, 0, "the ledger is behind billing");
    for number in spent {
        let again = make(kit, Call::Place, *number).await.unwrap_err();
        assert_eq!(again.code(), Code::FailedPrecondition, "k{number} came back: {again:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn limits_hold_and_undone_keys_stay_spent(
        calls in prop::collection::vec(call(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let kit = Kit::start().await;
            let mut spent = HashSet::new();
            for (what, number, trouble) in calls {
                let meets_provider = matches!(what, Call::Place | Call::Activate | Call::Undo);
                let trouble = trouble.filter(|_| meets_provider);
                kit.provider.will(trouble.as_slice());
                let answer = make(&kit, what, number).await;
                kit.provider.will(&[]);
                if let (Call::Undo, Ok(())) = (what, &answer) {
                    spent.insert(number);
                }
                if let Err(status) = answer {
                    prop_assert_ne!(status.code(), Code::Internal);
                }
                check(&kit, &spent).await;
            }
            Ok(())
        })?;
    }
}
