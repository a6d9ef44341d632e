//! Whose token a call carries: resolved at accounts, remembered for a few seconds.
//!
//! A token is looked up by its hash, never by itself. What is remembered is bound to the caller's
//! address and to the customer acted for, since accounts' answer depends on both.
//!
//! A revocation that comes while its token is being resolved must not lose: the cache counts
//! evictions, and an answer asked for before an eviction is used once and not remembered.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use prost::Message as _;
use stowage_auth::{TokenHash, hash_token};
use stowage_bus::{BoxError, Event, Handler};
use stowage_proto::accounts::session_service_client::SessionServiceClient;
use stowage_proto::accounts::{ResolveTokenRequest, TokenRevoked};
use stowage_proto::common::PrincipalRole;
use stowage_runtime::RoleChannel;
use stowage_types::{Clock, from_timestamp};
use time::OffsetDateTime;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};

/// Most identities remembered for one token: one for each address and customer acted for.
const PER_TOKEN_MAX: usize = 64;

/// Longest time that accounts may take to say whose a token is.
const RESOLVE_MAX: Duration = Duration::from_secs(10);

/// Who a call acts as, with the assertion that proves it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) role: PrincipalRole,
    /// The customer he is; 0 for others.
    pub(crate) customer_id: i64,
    /// The customer he acts for; 0 for none.
    pub(crate) acted_for: i64,
    pub(crate) email: String,
    pub(crate) token_expire_time: Option<OffsetDateTime>,
    pub(crate) assertion: MetadataValue<Ascii>,
}

/// What an answer of accounts depends on besides the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope {
    address: IpAddr,
    act_for: i64,
}

#[derive(Debug)]
struct Entry {
    scope: Scope,
    until: OffsetDateTime,
    identity: Arc<Identity>,
}

#[derive(Debug, Default)]
struct Cache {
    tokens: HashMap<TokenHash, Vec<Entry>>,
    /// Hashes in the order they came, to forget the oldest first.
    order: VecDeque<TokenHash>,
    /// Grows with each eviction.
    evictions: u64,
}

/// Resolves tokens.
pub(crate) struct Identities {
    accounts: SessionServiceClient<RoleChannel>,
    clock: Arc<dyn Clock>,
    keep: Duration,
    tokens_max: usize,
    cache: Mutex<Cache>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Identities {
    /// `accounts` must call as the gateway's own service identity.
    pub(crate) fn new(
        accounts: RoleChannel,
        clock: Arc<dyn Clock>,
        keep: Duration,
        tokens_max: usize,
    ) -> Self {
        let accounts = SessionServiceClient::new(accounts);
        Self { accounts, clock, keep, tokens_max, cache: Mutex::default() }
    }

    /// Says who the caller with `token` at `address` is, acting for the customer `act_for`, if any.
    ///
    /// # Errors
    /// Those of `SessionService.ResolveToken`.
    pub(crate) async fn resolve(
        &self,
        token: &str,
        address: IpAddr,
        act_for: i64,
    ) -> Result<Arc<Identity>, Status> {
        let hash = hash_token(token);
        let scope = Scope { address, act_for };
        let evictions = match self.recall(&hash, scope) {
            Ok(identity) => return Ok(identity),
            Err(evictions) => evictions,
        };
        let address = if address.is_unspecified() { String::new() } else { address.to_string() };
        let message =
            ResolveTokenRequest { token: token.to_owned(), address, act_for_customer_id: act_for };
        let mut request = tonic::Request::new(message);
        request.set_timeout(RESOLVE_MAX);
        let answer = self.accounts.clone().resolve_token(request).await?.into_inner();
        let claims = answer.claims.unwrap_or_default();
        let instant = |at: &prost_types::Timestamp| {
            from_timestamp(at).map_err(|_| Status::internal("accounts sent a malformed time"))
        };
        let identity = Arc::new(Identity {
            role: claims.role(),
            customer_id: claims.customer_id,
            acted_for: claims.acted_for_customer_id,
            email: answer.email,
            token_expire_time: answer.token_expire_time.as_ref().map(instant).transpose()?,
            assertion: answer
                .assertion
                .parse()
                .map_err(|_| Status::internal("accounts sent a malformed assertion"))?,
        });
        self.remember(hash, scope, evictions, &identity);
        Ok(identity)
    }

    /// Forgets all that is known of a token.
    pub(crate) fn evict(&self, token: &str) {
        self.evict_hash(&hash_token(token));
    }

    fn evict_hash(&self, hash: &TokenHash) {
        let mut cache = self.lock();
        cache.evictions += 1;
        cache.tokens.remove(hash);
    }

    /// Forgets every token: any of them may have been revoked unheard.
    fn evict_all(&self) {
        let mut cache = self.lock();
        let evictions = cache.evictions + 1;
        *cache = Cache { evictions, ..Cache::default() };
    }

    fn recall(&self, hash: &TokenHash, scope: Scope) -> Result<Arc<Identity>, u64> {
        let now = self.clock.now();
        let cache = self.lock();
        cache
            .tokens
            .get(hash)
            .and_then(|entries| entries.iter().find(|e| e.scope == scope && now < e.until))
            .map(|entry| Arc::clone(&entry.identity))
            .ok_or(cache.evictions)
    }

    fn remember(&self, hash: TokenHash, scope: Scope, evictions: u64, identity: &Arc<Identity>) {
        let now = self.clock.now();
        let mut until = now + self.keep;
        if let Some(end) = identity.token_expire_time {
            until = until.min(end);
        }
        let mut cache = self.lock();
        if cache.evictions != evictions || until <= now || self.tokens_max == 0 {
            return;
        }
        if !cache.tokens.contains_key(&hash) {
            cache.make_room(self.tokens_max);
            cache.order.push_back(hash);
        }
        let entries = cache.tokens.entry(hash).or_default();
        entries.retain(|entry| entry.scope != scope && now < entry.until);
        if entries.len() >= PER_TOKEN_MAX {
            entries.remove(0);
        }
        entries.push(Entry { scope, until, identity: Arc::clone(identity) });
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn make_room(&mut self, tokens_max: usize) {
        // Evicted hashes stay in `order` until their turn comes, so it is bounded on its own.
        while self.order.len() >= tokens_max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.tokens.remove(&oldest);
        }
    }
}

#[async_trait]
impl Handler for Identities {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let revoked = TokenRevoked::decode(event.data.as_slice())?;
        for text in &revoked.token_hashes {
            if let Ok(Some(hash)) = hex_bytes(text).map(|bytes| TokenHash::from_bytes(&bytes)) {
                self.evict_hash(&hash);
            }
        }
        Ok(())
    }

    async fn missed(&self) {
        self.evict_all();
    }
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("!"), 16))
        .collect()
}
