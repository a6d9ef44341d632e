//! The connection to the server, and what is said when it refuses.

use std::path::Path;
use std::time::Duration;

use stowage_proto::common::ErrorReason;
use stowage_types::{ExposeSecret as _, SecretString, SystemClock, SystemRandom, new_id};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::Limit;
use crate::data;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An order may take half a minute; nothing here takes longer than that.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);
/// How often a change is sent whose outcome is not known.
const ATTEMPTS_MAX: u32 = 3;
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How much a listing asks for at once.
const PAGE_SIZE: u32 = 500;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was typed or configured is wrong, whether that was seen here or by the server.
    #[error("{0}")]
    Usage(String),
    /// The server refused or is away.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The exit code: 2 for what was typed or configured, 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

/// A connection that sends the token with every call.
pub(super) type Api = InterceptedService<Channel, Bearer>;

/// Flags by the field they fill: `("customer.email", "--email")`. The longest that matches the
/// beginning of a field names it.
pub(super) type Flags = &'static [(&'static str, &'static str)];

pub(super) struct Client {
    api: Api,
    url: String,
    token_source: String,
}

#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Client {
    pub(super) async fn connect(
        addr: &str,
        token: Option<SecretString>,
        secrets: &Path,
    ) -> Result<Self, Error> {
        let url = url_of(addr)?;
        let (token, token_source) = find_token(token, secrets)?;
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {}", token.expose_secret()).parse().map_err(|_| {
                Error::Usage(format!("the token in {token_source} has characters no token has"))
            })?;
        bearer.set_sensitive(true);
        let channel = Endpoint::from_shared(url.clone())
            .map_err(|_| Error::Usage(format!("{addr:?} is not an address")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .connect()
            .await
            .map_err(|_| Error::Failed(away(&url)))?;
        let api = InterceptedService::new(channel, Bearer(bearer));
        Ok(Self { api, url, token_source })
    }

    pub(super) fn api(&self) -> Api {
        self.api.clone()
    }

    /// Sends a change under a request id of its own, and again when its outcome is not known: it
    /// is made once, whatever becomes of the answers.
    pub(super) async fn change<T>(
        &self,
        call: impl AsyncFn(Api, String) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        let id = new_id(&SystemClock, &SystemRandom).to_string();
        for _ in 1..ATTEMPTS_MAX {
            match call(self.api(), id.clone()).await {
                Err(status) if is_unclear(&status) => tokio::time::sleep(AGAIN_AFTER).await,
                answer => return answer.map(Response::into_inner),
            }
        }
        call(self.api(), id).await.map(Response::into_inner)
    }

    /// Says in the operator's words why the server refused.
    pub(super) fn explain(&self, status: &Status, flags: Flags) -> Error {
        let message = status.message();
        match status.code() {
            Code::InvalidArgument => {
                let violations = stowage_runtime::field_violations(status);
                if violations.is_empty() {
                    return Error::Usage(message.to_owned());
                }
                let lines = violations
                    .iter()
                    .map(|(field, why)| format!("{}: {why}", flag_of(field, flags)));
                Error::Usage(lines.collect::<Vec<_>>().join("\n"))
            }
            Code::Unauthenticated => Error::Failed(format!(
                "the server at {} does not know the token from {}; take the one from admin.token \
                 in the data folder of that server (STOWAGE_DATA_DIR, or STOWAGE_TOKEN)",
                self.url, self.token_source
            )),
            Code::PermissionDenied => Error::Failed(format!(
                "the token from {} is not an administrator's: {message}",
                self.token_source
            )),
            Code::Unavailable => Error::Failed(format!("{message}; nothing was done, try again")),
            Code::Unimplemented => {
                Error::Failed(format!("what answers at {} is not Stowage's gateway", self.url))
            }
            _ if message.is_empty() => Error::Failed(format!("refused: {}", status.code())),
            _ => Error::Failed(message.to_owned()),
        }
    }
}

/// Whether a change may have been made, or will be if it is sent again.
fn is_unclear(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled => true,
        Code::Aborted => stowage_runtime::reason_of(status) == Some(ErrorReason::RequestInProgress),
        _ => false,
    }
}

/// Fetches page after page until the end or the limit.
pub(super) async fn pages<T, F>(limit: Limit, mut fetch: F) -> Result<Vec<T>, Status>
where
    F: AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Status>,
{
    let wanted = usize::try_from(limit.limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut token = String::new();
    while found.len() < wanted {
        let missing = u32::try_from(wanted - found.len()).unwrap_or(PAGE_SIZE);
        let size = i32::try_from(missing.min(PAGE_SIZE)).unwrap_or(i32::MAX);
        let (items, next) = fetch(size, token.clone()).await?;
        found.extend(items);
        if next.is_empty() || next == token {
            break;
        }
        token = next;
    }
    found.truncate(wanted);
    Ok(found)
}

fn url_of(addr: &str) -> Result<String, Error> {
    let addr = addr.trim().trim_end_matches('/');
    if addr.starts_with("https://") {
        return Err(Error::Usage(format!(
            "{addr}: the command line speaks no TLS; name the server's own address, without https"
        )));
    }
    Ok(if addr.starts_with("http://") { addr.to_owned() } else { format!("http://{addr}") })
}

fn find_token(
    given: Option<SecretString>,
    secrets: &Path,
) -> Result<(SecretString, String), Error> {
    if let Some(token) = given {
        return Ok((token, "STOWAGE_TOKEN".to_owned()));
    }
    let path = data::token_file(secrets);
    match data::read_secret(&path) {
        Ok(Some(token)) => Ok((token, path.display().to_string())),
        Ok(None) => Err(Error::Usage(format!(
            "there is no token: {} does not exist; set STOWAGE_DATA_DIR to the server's data \
             folder, or STOWAGE_TOKEN to its administrator's token. If no server was ever \
             started, start one with `stowage serve`",
            path.display()
        ))),
        Err(error) => Err(Error::Usage(error.to_string())),
    }
}

fn away(url: &str) -> String {
    format!(
        "no server answers at {url}; start one with `stowage serve`, or name another with --addr \
         or STOWAGE_ADDR"
    )
}

/// The flag of a field, whatever its place in a list: `plan.prices[1].period_price`.
fn flag_of(field: &str, flags: Flags) -> String {
    let parts = field.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest));
    let path: String = parts.collect();
    let matching = flags.iter().filter(|(prefix, _)| path.starts_with(prefix));
    match matching.max_by_key(|(prefix, _)| prefix.len()) {
        Some((_, flag)) => (*flag).to_owned(),
        None => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_with_and_without_a_scheme() {
        for (addr, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://stowage.internal:80/", "http://stowage.internal:80"),
        ] {
            assert_eq!(url_of(addr).unwrap(), url, "{addr}");
        }
        assert_eq!(url_of("https://x").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_field_is_shown_as_the_flag_that_fills_it() {
        const FLAGS: Flags = &[
            ("plan.prices", "--price"),
            ("plan.prices.storage_overage_price", "--storage-overage"),
        ];
        assert_eq!(flag_of("plan.prices[0].period_price", FLAGS), "--price");
        assert_eq!(flag_of("plan.prices[12].storage_overage_price", FLAGS), "--storage-overage");
        assert_eq!(flag_of("plan.other", FLAGS), "plan.other");
    }

    #[tokio::test]
    async fn a_listing_ends_at_the_limit_or_at_the_last_page() {
        let fetch = async |size: i32, token: String| {
            let start: i32 = if token.is_empty() { 0 } else { token.parse().unwrap() };
            let end = (start + size).min(1200);
            let next = if end < 1200 { end.to_string() } else { String::new() };
            Ok(((start..end).collect::<Vec<_>>(), next))
        };
        for (limit, found) in [(1, 1), (500, 500), (501, 501), (5000, 1200)] {
            let all = pages(Limit { limit }, fetch).await.unwrap();
            assert_eq!(all, (0..found).collect::<Vec<_>>(), "{limit}");
        }
    }
}
