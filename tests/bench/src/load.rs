//! Clients that ask as fast as they are answered.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// How many of them there are, each on a connection of its own.
pub(crate) const AT_ONCE: u16 = 16;

/// How many a second are answered, over `span`, where each client asks again as soon as it is.
pub(crate) async fn at_once<A, F>(span: Duration, client: impl Fn() -> A) -> Result<f64, String>
where
    A: Fn() -> F + Send + 'static,
    F: Future<Output = Result<(), String>> + Send,
{
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let ask = client();
        clients.spawn(async move {
            let mut count = 0_u32;
            while begun.elapsed() < span {
                ask().await?;
                count += 1;
            }
            Ok::<_, String>(count)
        });
    }
    let counts: Result<Vec<u32>, String> = clients.join_all().await.into_iter().collect();
    Ok(f64::from(counts?.into_iter().sum::<u32>()) / begun.elapsed().as_secs_f64())
}
