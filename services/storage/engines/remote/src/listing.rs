//! Pages of what servers list in an order of their own, or not by pages.

use futures_util::{StreamExt as _, stream};
use stowage_engine::Error;

/// Calls under way at once for one answer.
pub const ASKED_AT_ONCE: usize = 8;

/// Looks at what has these names, in their order, those after `after`, some at once, until `max`
/// are told of. `look` answers `None` for what is not to be told of.
///
/// # Errors
/// The first of `look`.
pub async fn page_of<T, F>(
    mut names: Vec<String>,
    (after, max): (Option<&str>, u32),
    look: impl Fn(String) -> F,
) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<Option<T>, Error>>,
{
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    names.retain(|name| after.is_none_or(|after| name.as_str() > after));
    names.sort_unstable();
    names.dedup();
    let asked = stream::iter(names.into_iter().map(look)).buffered(ASKED_AT_ONCE);
    let mut asked = std::pin::pin!(asked);
    let mut told = Vec::new();
    while told.len() < max
        && let Some(found) = asked.next().await
    {
        told.extend(found?);
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn page(after: Option<&str>, max: u32) -> Result<Vec<String>, Error> {
        let names = ["d", "b", "a", "b", "c", "x"].map(str::to_owned).into();
        page_of(names, (after, max), async |name| match name.as_str() {
            "c" => Ok(None),
            "x" => Err(Error::NotFound),
            _ => Ok(Some(name)),
        })
        .await
    }

    #[tokio::test]
    async fn a_page_is_in_order_and_no_longer_than_it_may_be() {
        assert_eq!(page(None, 2).await.unwrap(), ["a", "b"]);
        assert_eq!(page(Some("a"), 2).await.unwrap(), ["b", "d"], "what is not told of is skipped");
        assert!(page(None, 0).await.unwrap().is_empty());
        assert!(matches!(page(Some("b"), 2).await, Err(Error::NotFound)));
    }
}
