//! What is said of unpaid invoices, in any order and more than once, to an account in any state.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use prost::Message as _;
use stowage_bus::Event;
use stowage_proto::accounts as pb;
use stowage_proto::billing::{
    DunningStage, Invoice, InvoiceEased, InvoiceOverdue, InvoiceSettled, InvoiceState,
};
use stowage_proto::common::ErrorReason;
use stowage_types::{Clock as _, SystemRandom, new_id};
use tonic::Code;

use crate::changes::{Change, ask, assert_agreement, get, keys, with_account};
use crate::double::{BIGGER, When, World};
use crate::kit::{Kit, until};

use DunningStage::{Ended, ReadOnly, Reminder, Suspended};
use pb::AccountState;

/// How long an account that is unpaid to the last goes on.
const GRACE: Duration = Duration::from_secs(14 * 86_400);

/// What is said of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// An invoice has come to a stage, of which the account has the highest.
    Overdue(DunningStage, DunningStage),
    Eased(DunningStage),
    Settled,
}

/// A word of an account that has one invoice.
pub(crate) const fn overdue(stage: DunningStage) -> Word {
    Word::Overdue(stage, stage)
}

/// The event that says a word.
pub(crate) fn said(kit: &Kit, name: &str, word: Word, sequence: i64) -> Event {
    let (s3uid, invoice_id) = (name.trim_start_matches("accounts/").to_owned(), 7);
    let (kind, data) = match word {
        Word::Overdue(stage, account_stage) => {
            let message = InvoiceOverdue {
                s3uid,
                invoice_id,
                stage: stage.into(),
                reminder: i32::from(stage == Reminder),
                account_stage: account_stage.into(),
                sequence,
                ..Default::default()
            };
            ("overdue", message.encode_to_vec())
        }
        Word::Eased(stage) => {
            let account_stage = stage.into();
            let message = InvoiceEased { s3uid, invoice_id, account_stage, sequence };
            ("eased", message.encode_to_vec())
        }
        Word::Settled => {
            ("settled", InvoiceSettled { s3uid, invoice_id, sequence }.encode_to_vec())
        }
    };
    Event {
        id: new_id(&*kit.clock, &SystemRandom),
        source: "stowage/billing".into(),
        kind: format!("stowage.billing.invoice.{kind}.v1"),
        subject: name.to_owned(),
        time: kit.clock.now(),
        data,
        trace: Default::default(),
    }
}

async fn say(kit: &Kit, name: &str, word: Word, sequence: i64) {
    kit.bus.publish(&said(kit, name, word, sequence)).await.unwrap();
}

/// What an account is whose highest stage is this.
fn held_as(stage: Option<DunningStage>) -> AccountState {
    match stage {
        Some(ReadOnly) => AccountState::ReadOnly,
        Some(Suspended | Ended) => AccountState::Suspended,
        _ => AccountState::Active,
    }
}

/// Billing has an open invoice of the account that has come to its last stage.
fn owe(kit: &Kit, account: &pb::Account) {
    let customer_id = account.customer.trim_start_matches("customers/").parse().unwrap();
    let of = |s3uid: &str, stage: DunningStage| Invoice {
        s3uid: s3uid.to_owned(),
        customer_id,
        state: InvoiceState::Open.into(),
        dunning_stage: stage.into(),
        ..Default::default()
    };
    let others = [of("another", Ended), of(&account.s3uid, ReadOnly)];
    kit.world.state().invoices = [&others[..], &[of(&account.s3uid, Ended)]].concat();
}

#[tokio::test]
async fn an_account_is_read_only_then_suspended_then_to_end_and_a_payment_takes_all_back() {
    let (kit, customer, name) = with_account().await;
    let mut sequence = 0;
    for _ in 0..2 {
        for stage in [Reminder, ReadOnly, Suspended, Ended] {
            sequence += 1;
            say(&kit, &name, overdue(stage), sequence).await;
            let account = get(&kit, &name).await;
            assert_eq!(account.state(), held_as(Some(stage)), "{stage:?}");
            assert_eq!(account.unpaid_end_time.is_some(), stage == Ended);
            let is_held = stage != Reminder;
            assert_eq!(account.suspension_cause() == pb::SuspensionCause::Unpaid, is_held);
            assert_agreement(&kit, &name, stage.as_str_name()).await;
        }
        sequence += 1;
        say(&kit, &name, Word::Settled, sequence).await;
        let account = get(&kit, &name).await;
        assert_eq!((account.state(), account.unpaid_end_time), (AccountState::Active, None));
        assert_agreement(&kit, &name, "paid").await;
    }
    let once = [
        "invoice.reminded",
        "account.read_only",
        "account.suspended",
        "account.end_scheduled",
        "account.resumed",
    ];
    assert_eq!(kit.history(&customer).await[3..], [once, once].concat());
    let told = "SELECT count(*) FROM history WHERE event = 'account.end_scheduled' \
        AND new_json LIKE '%invoice 7 is unpaid%' AND new_json LIKE '%unpaid_end_time%'";
    assert_eq!(kit.count(told).await, 2);
}

#[tokio::test]
async fn a_payment_of_one_of_two_opens_as_far_as_the_other_allows() {
    let (kit, customer, name) = with_account().await;
    say(&kit, &name, overdue(Ended), 1).await;
    say(&kit, &name, Word::Overdue(ReadOnly, Ended), 2).await;
    assert_eq!(get(&kit, &name).await.state(), AccountState::Suspended);
    say(&kit, &name, Word::Eased(Suspended), 3).await;
    let account = get(&kit, &name).await;
    assert_eq!((account.state(), account.unpaid_end_time), (AccountState::Suspended, None));
    say(&kit, &name, Word::Eased(ReadOnly), 4).await;
    assert_eq!(get(&kit, &name).await.state(), AccountState::ReadOnly);
    assert_agreement(&kit, &name, "eased").await;
    say(&kit, &name, Word::Eased(Reminder), 5).await;
    assert_eq!(get(&kit, &name).await.state(), AccountState::Active);
    say(&kit, &name, Word::Settled, 6).await;
    let events = kit.history(&customer).await;
    let expected =
        ["account.end_scheduled", "account.end_withdrawn", "account.read_only", "account.resumed"];
    assert_eq!(events[3..], expected);
}

/// Every word to an account after every other one, in order, the other way round, and twice.
#[tokio::test]
async fn the_last_word_counts_in_whatever_order_they_come() {
    let (kit, _, name) = with_account().await;
    let words = [
        (overdue(Reminder), Some(Reminder)),
        (overdue(ReadOnly), Some(ReadOnly)),
        (overdue(Suspended), Some(Suspended)),
        (overdue(Ended), Some(Ended)),
        (Word::Overdue(Reminder, Suspended), Some(Suspended)),
        (Word::Eased(ReadOnly), Some(ReadOnly)),
        (Word::Settled, None),
    ];
    let mut sequence = 0;
    for (first, _) in words {
        for (second, stage) in words {
            for is_late in [false, true] {
                sequence += 2;
                let earlier = said(&kit, &name, first, sequence);
                let later = said(&kit, &name, second, sequence + 1);
                let order = if is_late { [&later, &earlier] } else { [&earlier, &later] };
                for event in order.into_iter().chain(order) {
                    kit.bus.publish(event).await.unwrap();
                }
                // The inbox has forgotten what the number still tells.
                kit.tamper("DELETE FROM inbox").await;
                kit.bus.publish(order[0]).await.unwrap();
                let account = get(&kit, &name).await;
                let context = format!("{first:?} {second:?} {is_late}");
                assert_eq!(account.state(), held_as(stage), "{context}");
                assert_eq!(account.unpaid_end_time.is_some(), stage == Some(Ended), "{context}");
            }
        }
    }
    assert_agreement(&kit, &name, "after all").await;
}

#[tokio::test]
async fn what_an_administrator_has_suspended_no_payment_opens() {
    let (kit, customer, name) = with_account().await;
    let cause = async || {
        let account = get(&kit, &name).await;
        assert_eq!(account.state(), AccountState::Suspended);
        account.suspension_cause()
    };
    ask(&kit, Change::Suspend, &name, "").await.unwrap();
    say(&kit, &name, overdue(ReadOnly), 1).await;
    assert_eq!(cause().await, pb::SuspensionCause::Administrator);
    say(&kit, &name, overdue(Ended), 2).await;
    assert_eq!(cause().await, pb::SuspensionCause::Administrator);
    assert!(get(&kit, &name).await.unpaid_end_time.is_some());
    say(&kit, &name, Word::Settled, 3).await;
    assert_eq!(cause().await, pb::SuspensionCause::Administrator);
    assert_eq!(get(&kit, &name).await.unpaid_end_time, None);
    ask(&kit, Change::Resume, &name, "").await.unwrap();
    // What billing has shut he opens, with the end that was scheduled; what comes next shuts again.
    say(&kit, &name, overdue(Ended), 4).await;
    ask(&kit, Change::Resume, &name, "").await.unwrap();
    let account = get(&kit, &name).await;
    assert_eq!((account.state(), account.unpaid_end_time), (AccountState::Active, None));
    say(&kit, &name, Word::Overdue(Reminder, Ended), 5).await;
    assert_eq!(get(&kit, &name).await.state(), AccountState::Active);
    say(&kit, &name, overdue(Ended), 6).await;
    assert_eq!(cause().await, pb::SuspensionCause::Unpaid);
    assert_agreement(&kit, &name, "held again").await;
    // And he can suspend what is read-only.
    say(&kit, &name, Word::Eased(ReadOnly), 7).await;
    ask(&kit, Change::Suspend, &name, "").await.unwrap();
    say(&kit, &name, Word::Settled, 8).await;
    assert_eq!(cause().await, pb::SuspensionCause::Administrator);
    let withdrawn = kit.history(&customer).await;
    assert!(withdrawn.contains(&"account.end_withdrawn".to_owned()), "{withdrawn:?}");
}

#[tokio::test]
async fn a_read_only_account_keeps_its_plan_and_its_keys_can_be_changed() {
    let (kit, _, name) = with_account().await;
    say(&kit, &name, overdue(ReadOnly), 1).await;
    let account = get(&kit, &name).await;
    assert_eq!(account.cost(), pb::AccountCost::PlanAndUse);
    let refused = ask(&kit, Change::Plan(BIGGER), &name, "").await.unwrap_err();
    crate::kit::assert_reason(&refused, Code::FailedPrecondition, ErrorReason::AccountState);
    kit.clock.advance(Duration::from_secs(1));
    ask(&kit, Change::Rotate, &name, "").await.unwrap();
    ask(&kit, Change::Revoke, &name, "").await.unwrap();
    assert_eq!(keys(&kit, &name).await.len(), 1);
    assert_eq!(get(&kit, &name).await.state(), AccountState::ReadOnly);
    assert_agreement(&kit, &name, "read-only").await;
    // The engine has forgotten it.
    kit.world.state().engine.get_mut(&account.s3uid).unwrap().read_only = false;
    let message = pb::ReconcileRequest::default();
    let mut reconcile = pb::reconcile_service_client::ReconcileServiceClient::new(kit.channel());
    let part = reconcile.reconcile(kit.by(&crate::kit::admin(), message)).await.unwrap();
    let found = part.into_inner().findings;
    assert!(found[0].what.contains("not read-only") && found[0].mended, "{found:?}");
    assert_agreement(&kit, &name, "mended").await;
}

#[tokio::test]
async fn an_account_that_is_unpaid_to_the_last_ends_unless_it_is_paid_before() {
    let (mut kit, customer, name) = with_account().await;
    // The customer's own cancellation is another thing, and stays when he pays.
    ask(&kit, Change::Cancel, &name, "").await.unwrap();
    let cancel_time = get(&kit, &name).await.cancel_time;
    say(&kit, &name, overdue(Ended), 1).await;
    let account = get(&kit, &name).await;
    let end = account.unpaid_end_time.unwrap().seconds - kit.clock_now().unix_timestamp();
    assert!((14 * 86_400 - 60..=14 * 86_400).contains(&end), "{end}");
    say(&kit, &name, Word::Settled, 2).await;
    let paid = get(&kit, &name).await;
    assert_eq!((paid.cancel_time, paid.unpaid_end_time), (cancel_time, None));
    // Nor does he withdraw what unpaid invoices have scheduled.
    say(&kit, &name, overdue(Ended), 3).await;
    ask(&kit, Change::Withdraw, &name, "").await.unwrap();
    let due = get(&kit, &name).await;
    assert!(due.unpaid_end_time.is_some() && due.cancel_time.is_none(), "{due:?}");

    // It was paid, and the word of it is under way; or billing is away: nothing ends.
    kit.clock.advance(GRACE);
    let away = (Code::Unavailable, ErrorReason::ProviderUnavailable);
    for times in [0, 1] {
        kit.world.fail("ListInvoices", When::Before, away, times);
        kit.world.state().calls.clear();
        kit.restart().await;
        until(async || kit.world.state().calls.contains(&"ListInvoices")).await;
        assert_eq!(get(&kit, &name).await.state(), AccountState::Suspended);
    }
    let ending = "SELECT count(*) FROM saga WHERE kind = 'accounts.end_account.v1'";
    assert_eq!(kit.count(ending).await, 0);
    owe(&kit, &account);
    kit.restart().await;
    until(async || get(&kit, &name).await.state() == AccountState::Ended).await;
    kit.sagas_ended().await;
    let ended = get(&kit, &name).await;
    assert!(ended.delete_time.is_some() && ended.unpaid_end_time.is_none(), "{ended:?}");
    assert_agreement(&kit, &name, "ended").await;
    // Too late.
    for (word, sequence) in [(Word::Settled, 4), (overdue(Ended), 5)] {
        say(&kit, &name, word, sequence).await;
        assert_eq!(get(&kit, &name).await, ended);
    }
    let events = kit.history(&customer).await;
    assert_eq!(events.last().map(String::as_str), Some("account.ended"), "{events:?}");
}

#[tokio::test]
async fn what_is_said_of_an_account_that_is_being_ordered_is_not_lost() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let world = World { gate: Some(gate.clone()), ..World::default() };
    let kit = Kit::with(stowage_accounts::Config::default(), world).await;
    let customer = kit.customer("a@example.com").await;
    let ordering = kit.order(&customer, "photos", "");
    let early = async {
        kit.is_one("SELECT count(*) FROM account").await;
        let sql = "SELECT s3uid FROM account";
        let (s3uid,): (String,) = kit.db.fetch_one(sql, stowage_db::args![]).await.unwrap();
        let name = format!("accounts/{s3uid}");
        let event = said(&kit, &name, overdue(Suspended), 1);
        assert!(kit.bus.publish(&event).await.is_err(), "it comes again");
        gate.add_permits(1);
        (name, event)
    };
    let (ordered, (name, event)) = tokio::join!(ordering, early);
    assert_eq!(ordered.unwrap().state(), AccountState::Active);
    kit.bus.publish(&event).await.unwrap();
    assert_eq!(get(&kit, &name).await.state(), AccountState::Suspended);
}

/// What happens to an account of some invoices.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// An invoice comes to its next stage.
    Age(usize),
    Pay(usize),
    /// What was said and not heard yet is heard: which of it, and whether it comes again.
    Hear(usize, bool),
    Suspend,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_usize).prop_map(Step::Age),
        2 => (0..3_usize).prop_map(Step::Pay),
        6 => (0..8_usize, any::<bool>()).prop_map(|(at, again)| Step::Hear(at, again)),
        1 => Just(Step::Suspend),
        1 => Just(Step::Resume),
    ]
}

/// What billing would say: the stage of each open invoice, and all that was said.
#[derive(Debug, Default)]
struct Billing {
    stages: [Option<DunningStage>; 3],
    said: i64,
}

impl Billing {
    fn highest(&self) -> Option<DunningStage> {
        self.stages.into_iter().flatten().max_by_key(|stage| *stage as i32)
    }

    fn age(&mut self, at: usize) -> Option<Word> {
        let stage = match self.stages[at] {
            None => Reminder,
            Some(Reminder) => ReadOnly,
            Some(ReadOnly) => Suspended,
            Some(Suspended) => Ended,
            Some(_) => return None,
        };
        self.stages[at] = Some(stage);
        Some(Word::Overdue(stage, self.highest()?))
    }

    fn pay(&mut self, at: usize) -> Option<Word> {
        let before = self.highest()?;
        self.stages[at].take()?;
        match self.highest() {
            None => Some(Word::Settled),
            Some(left) if left != before => Some(Word::Eased(left)),
            Some(_) => None,
        }
    }
}

/// What must hold: an administrator's suspension stays, and else the account is what the word with
/// the highest number says, or less where he has let it go.
async fn check(
    kit: &Kit,
    name: &str,
    (last, by): (Option<DunningStage>, Option<Step>),
) -> Result<(), TestCaseError> {
    let account = get(kit, name).await;
    let (state, cause) = (account.state(), account.suspension_cause());
    match by {
        Some(Step::Suspend) => {
            prop_assert_eq!(state, AccountState::Suspended);
            prop_assert_eq!(cause, pb::SuspensionCause::Administrator);
        }
        Some(_) => {
            let is_open = state == AccountState::Active;
            prop_assert!(is_open || state == held_as(last), "{:?} {:?}", state, last);
            prop_assert_ne!(cause, pb::SuspensionCause::Administrator);
            prop_assert!(account.unpaid_end_time.is_none() || last == Some(Ended));
        }
        None => {
            prop_assert_eq!(state, held_as(last));
            prop_assert_eq!(account.unpaid_end_time.is_some(), last == Some(Ended));
        }
    }
    assert_agreement(kit, name, "after a step").await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn whatever_is_said_and_heard_the_account_is_what_the_last_word_says(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (kit, _, name) = with_account().await;
            let mut billing = Billing::default();
            // What was said and is not heard, with what it says of the account.
            let mut waiting: Vec<(Event, i64, Option<DunningStage>)> = Vec::new();
            let (mut heard, mut last, mut by) = (0, None, None);
            for step in steps {
                match step {
                    Step::Age(at) | Step::Pay(at) => {
                        let word = match step {
                            Step::Age(_) => billing.age(at),
                            _ => billing.pay(at),
                        };
                        let Some(word) = word else { continue };
                        billing.said += 1;
                        let event = said(&kit, &name, word, billing.said);
                        waiting.push((event, billing.said, billing.highest()));
                        continue;
                    }
                    Step::Hear(..) if waiting.is_empty() => continue,
                    Step::Hear(at, comes_again) => {
                        let at = at % waiting.len();
                        let (event, sequence, stage) = waiting[at].clone();
                        kit.bus.publish(&event).await.unwrap();
                        if !comes_again {
                            waiting.remove(at);
                        }
                        if sequence > heard {
                            (heard, last) = (sequence, stage);
                        }
                    }
                    Step::Suspend => {
                        ask(&kit, Change::Suspend, &name, "").await.unwrap();
                        by = Some(step);
                    }
                    Step::Resume => {
                        ask(&kit, Change::Resume, &name, "").await.unwrap();
                        by = Some(step);
                    }
                }
                check(&kit, &name, (last, by)).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
