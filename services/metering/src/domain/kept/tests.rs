use stowage_auth::RequestContext;
use stowage_types::{CustomerId, PlanId};

use super::*;
use crate::domain::{Dimensions, Step};
use crate::store::tests::{Store, uid};

async fn open(store: &Store, n: u8) {
    let dimensions = Dimensions {
        s3uid: uid(n),
        account_id: n.into(),
        customer: CustomerId(1),
        email: String::new(),
        plan: PlanId(1),
        location: "NL".to_owned(),
        storage_type: "standard".to_owned(),
        billing: "ledger".to_owned(),
        gb_bytes: 1,
    };
    let cx = RequestContext::background("test");
    store.metering.open_meter(&cx, dimensions).await.unwrap();
}

fn bytes(state: &State) -> usize {
    let parts = state.parts.values().map(|part| part.value.bytes()).sum::<usize>();
    parts + state.boards.values().map(|(board, _)| board.bytes()).sum::<usize>()
}

/// Days that end so many days ago.
fn span(store: &Store, days_ago: i64) -> Span {
    let to = Step::Day.start_of(store.now()) - Duration::days(days_ago);
    let days = vec![Period { from: to - Duration::days(3), to }];
    Span { carried_at: None, months: Vec::new(), days }
}

#[tokio::test]
async fn what_was_not_asked_for_the_longest_goes_when_there_is_too_much() {
    const ROUNDS: i64 = 40;
    let store = Store::start().await;
    for n in 1..=50 {
        open(&store, n).await;
    }
    let make =
        |bytes_max| Arc::new(Rankings::new(store.db.clone(), store.clock.clone(), bytes_max));
    let unbounded = make(usize::MAX);
    unbounded.board(&span(&store, 0), 1, true).await.unwrap();
    let (one, roster) = {
        let state = unbounded.state();
        (bytes(&state), state.roster.as_ref().unwrap().value.bytes())
    };
    let rankings = make(roster + 4 * one);
    let favourite = span(&store, 100);
    for days_ago in 0..ROUNDS {
        rankings.board(&span(&store, days_ago), 1, true).await.unwrap();
        rankings.board(&favourite, 2, true).await.unwrap();
        assert!(bytes(&rankings.state()) <= 4 * one);
    }
    let state = rankings.state();
    assert!(state.boards.contains_key(&favourite));
    assert!(state.boards.contains_key(&span(&store, ROUNDS - 1)));
    assert!(!state.boards.contains_key(&span(&store, 0)));
    assert!(state.boards_of_readers() <= READERS_BOARDS_MAX);
}

#[tokio::test]
async fn many_who_ask_at_once_wait_for_one_board() {
    let store = Store::start().await;
    open(&store, 1).await;
    let rankings = Arc::new(Rankings::new(store.db.clone(), store.clock.clone(), 0));
    let asks = (0..16).map(|n| {
        let (rankings, span) = (Arc::clone(&rankings), span(&store, 0));
        tokio::spawn(async move { rankings.board(&span, n, true).await.unwrap() })
    });
    let mut boards = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        boards.push(ask.await.unwrap());
    }
    assert!(boards.iter().all(|board| Arc::ptr_eq(board, &boards[0])));
    assert!(rankings.state().running.is_empty());
}

#[tokio::test]
async fn a_board_that_cannot_be_made_tells_everybody_and_is_tried_again() {
    let store = Store::start().await;
    open(&store, 1).await;
    let rankings = Arc::new(Rankings::new(store.db.clone(), store.clock.clone(), 0));
    store.db.close().await;
    for _ in 0..2 {
        let refused = rankings.board(&span(&store, 0), 1, true).await;
        assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
    }
}
