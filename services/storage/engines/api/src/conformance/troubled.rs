//! A network between us and an engine that fails, delays, repeats, and drops answers.
//!
//! A caller that repeats a call until it is answered must see nothing of it: that is what "every
//! method may be repeated" means. But for what cannot be so: a deletion whose answer was lost finds
//! nothing when it is repeated, and counts are those of one attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::wrapped::{Around, Call, Wrapped};
use crate::{Engine, Error};

/// How often a call is repeated before its error is believed.
const ATTEMPTS_MAX: usize = 20;
/// How long an answer is held up.
const DELAY: Duration = Duration::from_millis(20);

/// What happens to a call.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    None,
    /// It does not arrive.
    Lost,
    /// It is carried out, and its answer is lost.
    AnswerLost,
    /// It arrives twice.
    Twice,
    /// Its answer is late.
    Late,
}

/// In turn; seven of them, so that a method that is called in step with others meets each.
const TROUBLES: [Trouble; 7] = [
    Trouble::Lost,
    Trouble::None,
    Trouble::AnswerLost,
    Trouble::Twice,
    Trouble::None,
    Trouble::Late,
    Trouble::AnswerLost,
];

/// Puts trouble before an engine, and a caller that repeats before the trouble.
#[derive(Debug, Default)]
pub struct Troubled {
    calls: AtomicUsize,
}

impl Troubled {
    /// The engine, as such a caller sees it.
    #[must_use]
    pub fn engine(engine: Arc<dyn Engine>) -> Arc<dyn Engine> {
        Arc::new(Wrapped::new(engine, Self::default()))
    }

    async fn attempt<T>(&self, call: &Call<'_, T>) -> Result<T, Error> {
        let lost = || Error::unavailable("lost on the way");
        match TROUBLES[self.calls.fetch_add(1, Ordering::Relaxed) % TROUBLES.len()] {
            Trouble::None => call().await,
            Trouble::Lost => Err(lost()),
            Trouble::AnswerLost => call().await.and_then(|_| Err(lost())),
            Trouble::Twice => {
                let first = call().await;
                // Whoever asked has the first answer by then.
                drop(call().await);
                first
            }
            Trouble::Late => {
                let answer = call().await;
                tokio::time::sleep(DELAY).await;
                answer
            }
        }
    }
}

impl Around for Troubled {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _method: &'static str,
        call: Call<'a, T>,
    ) -> Result<T, Error> {
        for _ in 1..ATTEMPTS_MAX {
            match self.attempt(&call).await {
                Err(error) if error.is_transient() => {}
                answer => return answer,
            }
        }
        call().await
    }
}
