//! Whose a key is: asked seldom, and counts wait for the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use stowage_engine::{Around, Call, Engine, Error, Wrapped};

use crate::kit::{Kit, Settings, bytes};

/// An engine that does not always say, and counts how often it is asked.
#[derive(Debug)]
struct Asked {
    is_away: &'static AtomicBool,
    questions: &'static AtomicUsize,
}

impl Around for Asked {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        call: Call<'a, T>,
    ) -> Result<T, Error> {
        if method == "key_owner" {
            self.questions.fetch_add(1, Ordering::SeqCst);
        }
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Error::unavailable("away"));
        }
        call().await
    }
}

#[tokio::test]
async fn counts_wait_for_an_engine_that_does_not_say_whose_they_are() {
    static AWAY: AtomicBool = AtomicBool::new(true);
    static QUESTIONS: AtomicUsize = AtomicUsize::new(0);
    fn wrapped(engine: Arc<dyn Engine>) -> Arc<dyn Engine> {
        Arc::new(Wrapped::new(engine, Asked { is_away: &AWAY, questions: &QUESTIONS }))
    }
    let kit = Kit::with(Settings { owners: Some(wrapped), ..Settings::default() }).await;
    let account = kit.account().await;
    account.bucket("waiting").await;
    account.put("waiting", "k", bytes(1000)).await;
    while QUESTIONS.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert!(!kit.counts.is_written());
    AWAY.store(false, Ordering::SeqCst);
    assert_eq!(kit.sum(&account.uid, "waiting").await, [1000, 0, 0, 1]);
    let asked = QUESTIONS.load(Ordering::SeqCst);
    for _ in 0..20 {
        account.put("waiting", "k", bytes(10)).await;
        kit.sums().await;
    }
    assert_eq!(QUESTIONS.load(Ordering::SeqCst), asked, "the key is remembered");
    assert_eq!(kit.sum(&account.uid, "waiting").await, [1200, 0, 0, 21]);
}

#[tokio::test]
async fn a_key_that_is_gone_is_charged_for_what_it_moved_before() {
    let kit = Kit::start().await;
    let account = kit.account().await;
    account.bucket("leaving").await;
    account.put("leaving", "k", bytes(10)).await;
    assert_eq!(kit.sum(&account.uid, "leaving").await, [10, 0, 0, 1]);
    account.put("leaving", "k", bytes(1000)).await;
    kit.engine.remove_account(&account.uid, true).await.unwrap();
    account.s3.get_object().bucket("leaving").key("k").send().await.unwrap_err();
    assert_eq!(kit.sum(&account.uid, "leaving").await, [1010, 0, 0, 2]);
}
