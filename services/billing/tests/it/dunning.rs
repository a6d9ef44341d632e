//! The stages of an unpaid invoice: each told once, in order, and taken back by a payment.

use stowage_billing::Config;
use stowage_db::args;
use stowage_proto::billing as pb;
use stowage_types::from_timestamp;
use time::Duration;
use tokio_util::sync::CancellationToken;

use crate::invoices::{accept, days, get, office, payment};
use crate::kit::{Kit, START};

use pb::DunningStage::{Ended, ReadOnly, Reminder, Suspended, Unspecified};

/// Two reminders, and then every stage.
fn stages() -> Config {
    Config {
        reminder_after_days: vec![1, 3],
        read_only_after_days: Some(7),
        suspend_after_days: Some(14),
        end_after_days: Some(30),
        dunning_interval_ms: 5,
        ..Config::default()
    }
}

/// What was told of an invoice, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Of an invoice: its stage, which reminder it is, and the stage of its account.
    Overdue(i64, pb::DunningStage, i32, pb::DunningStage),
    Eased(i64, pb::DunningStage),
    Settled(i64),
}

/// All that was told once it is so much, in order, and each with a higher number.
async fn told(kit: &Kit, count: usize) -> Vec<Told> {
    let (mut told, mut last) = (Vec::new(), 0);
    for event in kit.told(count).await {
        let (what, sequence) = match event.kind.as_str() {
            "stowage.billing.invoice.overdue.v1" => {
                let message: pb::InvoiceOverdue = event.message().unwrap();
                let due = from_timestamp(&message.due_time.unwrap()).unwrap();
                // Issued with the order, and due 14 days later.
                assert!(due >= START + Duration::days(14), "{message:?}");
                let (id, stage) = (message.invoice_id, message.stage());
                let account = message.account_stage();
                (Told::Overdue(id, stage, message.reminder, account), message.sequence)
            }
            "stowage.billing.invoice.eased.v1" => {
                let message: pb::InvoiceEased = event.message().unwrap();
                (Told::Eased(message.invoice_id, message.account_stage()), message.sequence)
            }
            _ => {
                let message: pb::InvoiceSettled = event.message().unwrap();
                (Told::Settled(message.invoice_id), message.sequence)
            }
        };
        assert!(sequence > last, "{what:?} has {sequence} after {last}");
        last = sequence;
        told.push(what);
    }
    assert_eq!(told.len(), count, "{told:?}");
    told
}

/// The whole way of an invoice whose account has no other.
fn whole_way(id: i64) -> [Told; 5] {
    let alone = |stage, reminder| Told::Overdue(id, stage, reminder, stage);
    [
        alone(Reminder, 1),
        alone(Reminder, 2),
        alone(ReadOnly, 0),
        alone(Suspended, 0),
        alone(Ended, 0),
    ]
}

#[tokio::test]
async fn an_unpaid_invoice_comes_to_each_stage_in_its_time_and_a_payment_takes_all_back() {
    let kit = Kit::start_with(stages()).await;
    accept(&mut kit.sagas(), "k1").await;
    let mut office = office(&kit);
    let due = START + Duration::days(14);
    let mut first = None;
    for (at, after) in [1, 3, 7, 14, 30].into_iter().enumerate() {
        // Not yet, to the microsecond.
        kit.clock.set(due + Duration::days(after));
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        assert_eq!(told(&kit, at).await, whole_way(1)[..at], "{after}");
        kit.clock.set(due + Duration::days(after) + Duration::microseconds(1));
        assert_eq!(told(&kit, at + 1).await, whole_way(1)[..=at], "{after}");
        let invoice = get(&mut office, 1).await;
        let Told::Overdue(_, stage, ..) = whole_way(1)[at] else { panic!("it is overdue") };
        assert_eq!(invoice.dunning_stage(), stage);
        let noted = *first.get_or_insert(invoice.overdue_time);
        assert_eq!(invoice.overdue_time, noted, "it is when it was first announced");
    }
    office.record_payment(payment(1, "BANK-1", None)).await.unwrap();
    let all = [whole_way(1).to_vec(), vec![Told::Settled(1)]].concat();
    assert_eq!(told(&kit, 6).await, all);
    assert_eq!(get(&mut office, 1).await.dunning_stage(), Ended, "how far it had come");
    // Nothing more is told of it.
    kit.clock.advance(days(400));
    accept(&mut kit.sagas(), "k2").await;
    kit.clock.advance(days(16));
    let next = [all, vec![Told::Overdue(2, Reminder, 1, Reminder)]].concat();
    assert_eq!(told(&kit, 7).await, next);
}

#[tokio::test]
async fn an_invoice_that_is_found_late_is_told_of_at_the_stages_that_it_has_come_to() {
    for (late, count) in [(2, 1), (8, 3), (15, 4), (400, 5)] {
        let kit = Kit::start_with(stages()).await;
        accept(&mut kit.sagas(), "k1").await;
        kit.clock.advance(days(14 + late));
        assert_eq!(told(&kit, count).await, whole_way(1)[..count], "{late}");
    }
    // Stages that are not set are left out.
    let config = Config {
        reminder_after_days: Vec::new(),
        read_only_after_days: None,
        suspend_after_days: None,
        end_after_days: Some(2),
        dunning_interval_ms: 5,
        ..Config::default()
    };
    let kit = Kit::start_with(config).await;
    accept(&mut kit.sagas(), "k1").await;
    kit.clock.advance(days(20));
    assert_eq!(told(&kit, 1).await, [Told::Overdue(1, Ended, 0, Ended)]);
}

#[tokio::test]
async fn a_payment_between_stages_ends_them() {
    let kit = Kit::start_with(stages()).await;
    let mut sagas = kit.sagas();
    accept(&mut sagas, "k1").await;
    kit.clock.advance(days(16));
    told(&kit, 1).await;
    let mut office = office(&kit);
    assert_eq!(get(&mut office, 1).await.dunning_stage(), Reminder);
    // A part is no payment.
    let part = Some(crate::kit::money("EUR", 0, 1));
    office.record_payment(payment(1, "BANK-1", part)).await.unwrap();
    kit.clock.advance(days(2));
    told(&kit, 2).await;
    office.record_payment(payment(1, "BANK-2", None)).await.unwrap();
    accept(&mut sagas, "k2").await;
    kit.clock.advance(days(16));
    let reminder = |id, n| Told::Overdue(id, Reminder, n, Reminder);
    let all = [reminder(1, 1), reminder(1, 2), Told::Settled(1), reminder(2, 1)];
    assert_eq!(told(&kit, 4).await, all);
    // One that was never announced settles nothing.
    accept(&mut sagas, "k3").await;
    office.record_payment(payment(3, "BANK-3", None)).await.unwrap();
    office.record_payment(payment(2, "BANK-4", None)).await.unwrap();
    assert_eq!(told(&kit, 5).await[4], Told::Settled(2));
    assert_eq!(get(&mut office, 3).await.dunning_stage(), Unspecified);
}

#[tokio::test]
async fn of_two_invoices_the_one_that_has_come_further_says_what_the_account_is() {
    let kit = Kit::start_with(stages()).await;
    let mut sagas = kit.sagas();
    accept(&mut sagas, "k1").await;
    kit.clock.advance(days(14 + 15));
    told(&kit, 4).await;
    accept(&mut sagas, "k2").await;
    kit.clock.advance(days(14 + 2));
    // The first has come to its end meanwhile, the second to a reminder; either is told first.
    let both = told(&kit, 6).await;
    assert_eq!(both[4], Told::Overdue(1, Ended, 0, Ended));
    assert_eq!(both[5], Told::Overdue(2, Reminder, 1, Ended));
    kit.clock.advance(days(6));
    let both = told(&kit, 8).await;
    assert_eq!(both[6], Told::Overdue(2, Reminder, 2, Ended));
    assert_eq!(both[7], Told::Overdue(2, ReadOnly, 0, Ended));
    let mut office = office(&kit);
    office.record_payment(payment(1, "BANK-1", None)).await.unwrap();
    assert_eq!(told(&kit, 9).await[8], Told::Eased(1, ReadOnly));
    office.record_payment(payment(2, "BANK-2", None)).await.unwrap();
    assert_eq!(told(&kit, 10).await[9], Told::Settled(2));
    // The weaker one is paid first: the account stays as it is.
    accept(&mut sagas, "k3").await;
    kit.clock.advance(days(14 + 8));
    told(&kit, 13).await;
    accept(&mut sagas, "k4").await;
    kit.clock.advance(days(14 + 2));
    told(&kit, 15).await;
    office.record_payment(payment(4, "BANK-4", None)).await.unwrap();
    office.record_payment(payment(3, "BANK-3", None)).await.unwrap();
    let end = told(&kit, 16).await;
    assert_eq!(end[15], Told::Settled(3), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_tell_each_stage_once_and_one_goes_on_alone() {
    let kit = Kit::start_with(stages()).await;
    let second = CancellationToken::new();
    kit.join(stages(), second.clone()).await;
    for n in 1..=3 {
        accept(&mut kit.sagas(), &format!("k{n}")).await;
    }
    // Each jump of the clock ends the lease too, so that both look at once.
    let mut count = 0;
    for (jump, more) in [(14 + 2, 3), (2, 3), (4, 3), (7, 3)] {
        kit.clock.advance(days(jump));
        count += more;
        told(&kit, count).await;
    }
    second.cancel();
    kit.clock.advance(days(16));
    let all = told(&kit, 15).await;
    for id in 1..=3 {
        let stages: Vec<_> = all
            .iter()
            .filter_map(|told| match *told {
                Told::Overdue(of, stage, reminder, _) if of == id => Some((stage, reminder)),
                _ => None,
            })
            .collect();
        let way = [(Reminder, 1), (Reminder, 2), (ReadOnly, 0), (Suspended, 0), (Ended, 0)];
        assert_eq!(stages, way, "{id}");
    }
}

#[tokio::test]
async fn what_was_announced_before_there_were_stages_is_suspended() {
    let kit = Kit::start_with(Config { dunning_interval_ms: 5, ..Config::default() }).await;
    accept(&mut kit.sagas(), "k1").await;
    kit.clock.advance(days(14 + 40));
    let mut tx = kit.db.begin().await.unwrap();
    let sql = "INSERT INTO dunning (provider, invoice_id, s3uid, overdue_time) \
        VALUES ('ledger', 1, $1, $2)";
    tx.execute(sql, args!["ab".repeat(16), START]).await.unwrap();
    tx.execute("INSERT INTO dunning_account (s3uid) VALUES ($1)", args!["ab".repeat(16)])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut office = office(&kit);
    assert_eq!(get(&mut office, 1).await.dunning_stage(), Suspended);
    // A process that knows of stages tells of what comes after.
    kit.join(stages(), CancellationToken::new()).await;
    kit.clock.advance(days(1));
    assert_eq!(told(&kit, 1).await, [Told::Overdue(1, Ended, 0, Ended)]);
    office.record_payment(payment(1, "BANK-1", None)).await.unwrap();
    assert_eq!(told(&kit, 2).await[1], Told::Settled(1));
}
