//! Waiting for what happens by itself.

use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `probe` finds what it is after, and returns it.
///
/// # Panics
/// When `limit` has passed; the message has `what`, and why the last look was not enough.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    match try_eventually(limit, probe).await {
        Ok(found) => found,
        Err(last) => panic!("{what}: not within {limit:?}; last: {last}"),
    }
}

/// Looks until `probe` finds what it is after, and returns it.
///
/// # Errors
/// Why the last look was not enough, when `limit` has passed. At least one look is taken.
pub async fn try_eventually<T>(
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = tokio::time::Instant::now() + limit;
    loop {
        match probe().await {
            Ok(found) => return Ok(found),
            Err(last) if tokio::time::Instant::now() >= end => return Err(last),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn polling_ends_with_the_answer_or_with_the_last_reason() {
        let mut looks = 0;
        let third = async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
        };
        assert_eq!(try_eventually(Duration::from_secs(10), third).await, Ok(3));
        let never = async || Err::<(), _>("still nothing".to_owned());
        assert_eq!(try_eventually(Duration::ZERO, never).await, Err("still nothing".to_owned()));
    }
}
