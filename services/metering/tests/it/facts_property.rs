//! Whatever comes between a collector and the role: batches cut anyhow, retries, reordering,
//! duplicates, ids used twice, a process that dies at any moment. The figures are those of the
//! model, and no fact counts never or twice.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::Poll;

use proptest::prelude::*;
use stowage_proto::metering as pb;
use stowage_proto::metering::FactKind;

use crate::kit::{Kit, dimensions, told, uid};
use crate::property::{Fact, Model, agrees, fact};

/// What a collector does.
#[derive(Debug, Clone)]
enum Act {
    /// Sends these facts in messages of so many, and the process dies at this poll, if at one.
    Send { facts: Vec<usize>, at_once: usize, dies_at: Option<usize> },
    /// Sends the fact under its id with another payload.
    Reuse(usize),
    /// Tells the facts of an event of storage, and once more.
    Event(usize),
}

fn act(facts: usize, events: usize) -> impl Strategy<Value = Act> {
    let dies_at = prop_oneof![2 => Just(None), 3 => (1..60_usize).prop_map(Some)];
    let send = (proptest::collection::vec(0..facts, 1..12), 1..5_usize, dies_at)
        .prop_map(|(facts, at_once, dies_at)| Act::Send { facts, at_once, dies_at });
    prop_oneof![
        6 => send,
        1 => (0..facts).prop_map(Act::Reuse),
        1 => (0..events).prop_map(Act::Event),
    ]
}

/// Facts of a collector, events of storage, and what is done with them.
fn story() -> impl Strategy<Value = (Vec<Fact>, Vec<Vec<Fact>>, Vec<Act>)> {
    let facts = proptest::collection::vec(fact(), 1..20);
    let events = proptest::collection::vec(proptest::collection::vec(fact(), 1..3), 1..3);
    (facts, events).prop_flat_map(|(facts, events)| {
        let acts = proptest::collection::vec(act(wire(&facts).len(), events.len()), 1..10);
        (Just(facts), Just(events), acts)
    })
}

/// The same facts as a collector tells them: each of one kind, with ids of their own.
fn wire(facts: &[Fact]) -> Vec<pb::Fact> {
    let mut all = Vec::new();
    let mut push = |bucket: &str, time, (kind, value, object_count): (FactKind, i64, i64)| {
        let (s3uid, bucket, kind) = (uid(1), bucket.to_owned(), kind.into());
        let id = format!("{:03}", all.len());
        all.push(pb::Fact { id, s3uid, bucket, time, kind, value, object_count });
    };
    for fact in facts {
        match fact {
            Fact::Sample(s) if s.deleted => {
                push(&s.bucket, s.sample_time, (FactKind::Deleted, 0, 0));
            }
            Fact::Sample(s) => {
                let what = (FactKind::Stored, s.stored_bytes, s.object_count);
                push(&s.bucket, s.sample_time, what);
            }
            Fact::Traffic(t) => {
                for (kind, value) in [
                    (FactKind::ReceivedBytes, t.received_bytes),
                    (FactKind::SentBytes, t.sent_bytes),
                    (FactKind::ReadRequests, t.read_requests),
                    (FactKind::RefusedRequests, t.refused_requests),
                ] {
                    push(&t.bucket, t.hour, (kind, value, 0));
                }
            }
        }
    }
    all
}

/// Runs until it ends, or for so many polls: then it is dropped where it is.
async fn until_killed<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// What a test knows.
struct Run {
    kit: Kit,
    facts: Vec<pb::Fact>,
    /// Those that were answered.
    known: BTreeSet<usize>,
}

impl Run {
    async fn send(&mut self, facts: &[usize], at_once: usize, dies_at: Option<usize>) {
        let messages = facts
            .chunks(at_once)
            .map(|part| told(part.iter().map(|index| self.facts[*index].clone()).collect()));
        let call = self.kit.record(messages.collect());
        let answer = match dies_at {
            Some(polls) => until_killed(polls, call).await,
            None => Some(call.await),
        };
        let Some(answer) = answer else { return self.kit.restart().await };
        let outcomes = answer.unwrap().outcomes;
        assert_eq!(outcomes.len(), facts.len());
        for (index, outcome) in facts.iter().zip(outcomes) {
            assert_ne!(outcome.status(), pb::FactStatus::Refused, "{}", outcome.why);
            let is_new = outcome.status() == pb::FactStatus::Stored;
            let was_known = !self.known.insert(*index);
            assert!(!(is_new && was_known), "{index} was answered before and is stored anew");
        }
    }

    async fn reuse(&self, index: usize) {
        // The first one holds: which that is must be known.
        if !self.known.contains(&index) {
            return;
        }
        let fact = self.facts[index].clone();
        let moved = pb::Fact { bucket: "other".to_owned(), ..fact };
        let [(status, why)] = &self.kit.tell(vec![moved]).await[..] else { panic!("one fact") };
        assert_eq!(
            (*status, why.as_str()),
            (pb::FactStatus::Refused, "id used for another payload")
        );
    }
}

async fn check(facts: Vec<Fact>, events: Vec<Vec<Fact>>, acts: &[Act]) {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let sent: Vec<_> = events.iter().map(|facts| kit.event_of(facts)).collect();
    let mut run = Run { kit, facts: wire(&facts), known: BTreeSet::new() };
    for act in acts {
        match act {
            Act::Send { facts, at_once, dies_at } => run.send(facts, *at_once, *dies_at).await,
            Act::Reuse(index) => run.reuse(*index).await,
            Act::Event(index) => run.kit.bus.publish(&sent[*index]).await.unwrap(),
        }
    }
    for event in &sent {
        run.kit.bus.publish(event).await.unwrap();
    }
    let all: Vec<usize> = (0..run.facts.len()).collect();
    run.send(&all, 7, None).await;
    let told: Vec<_> = events.into_iter().chain([facts]).collect();
    agrees(&run.kit, &Model::of(&told)).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_fact_counts_once_whatever_happens((facts, events, acts) in story()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(facts, events, &acts));
    }
}
