//! Sessions: a token is what a login gives and every further call brings. Stored as hashes.
//!
//! A session that begins, and one that is ended by its holder, are entries of the customer's audit:
//! a token is a credential that was handed out, and who lost a key sees there that it is used.
//! A login that fails is no act of a customer, since nobody proved to be one; it is counted and
//! slowed down at the gateway. A token that ends by its time is no act either.

use std::net::IpAddr;
use std::time::Duration;

use stowage_auth::{Principal, PrincipalRole, RequestContext, TokenHash, hash_token};
use stowage_proto::common::PrincipalClaims;
use stowage_types::{
    Clock, Currency, CustomerId, ExposeSecret as _, Malformed, Random, SecretString, name,
};
use time::OffsetDateTime;

use super::Domain;
use super::history::{Cause, Entry, Event};
use crate::error::Error;
use crate::events;
use crate::store;

/// Bounds of a token's life.
const LIFE_MIN: Duration = Duration::from_secs(60);
/// See [`LIFE_MIN`].
const LIFE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Longest credential that is hashed; longer ones are unknown.
const CREDENTIAL_BYTES_MAX: usize = 1024;

/// A token, without the token itself.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) role: PrincipalRole,
    pub(crate) subject: String,
    pub(crate) customer: Option<CustomerId>,
    /// Of the customer.
    pub(crate) currency: Option<Currency>,
    /// Of the customer; empty without one.
    pub(crate) email: String,
    /// The only address it is good from; empty: any.
    pub(crate) fixed_address: String,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) expire_time: Option<OffsetDateTime>,
}

/// What a login asks for.
pub(crate) struct Login {
    pub(crate) api_key: SecretString,
    pub(crate) life: Option<Duration>,
    pub(crate) fixed_address: String,
}

/// What a login gives.
pub(crate) struct LoggedIn {
    pub(crate) token: SecretString,
    pub(crate) expire_time: OffsetDateTime,
    pub(crate) claims: PrincipalClaims,
    pub(crate) email: String,
}

/// Whose a token is.
pub(crate) struct Resolved {
    pub(crate) claims: PrincipalClaims,
    pub(crate) assertion: String,
    pub(crate) expire_time: Option<OffsetDateTime>,
    pub(crate) email: String,
    pub(crate) currency: String,
}

/// 256 random bits in hex.
pub(crate) fn random_hex(random: &dyn Random) -> String {
    let mut bytes = [0_u8; 32];
    random.fill(&mut bytes);
    hex::encode(bytes)
}

/// One text for each address, so that `::ffff:192.0.2.1` is `192.0.2.1`. Empty stays empty.
pub(crate) fn canonical_address(text: &str) -> Result<String, Malformed> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let address: IpAddr = text.parse().map_err(|_| Malformed::new("is not an address"))?;
    Ok(address.to_canonical().to_string())
}

/// The administrator's token: no end, any address.
pub(crate) fn administrator(clock: &dyn Clock) -> Token {
    Token {
        role: PrincipalRole::Administrator,
        subject: "administrator".to_owned(),
        customer: None,
        currency: None,
        email: String::new(),
        fixed_address: String::new(),
        create_time: clock.now(),
        expire_time: None,
    }
}

impl Domain {
    /// Exchanges an API key for a token. Finding the key is a look-up of its hash, so the time it
    /// takes tells nothing about the key.
    pub(crate) async fn login(&self, cx: &RequestContext, login: Login) -> Result<LoggedIn, Error> {
        let key = login.api_key.expose_secret();
        if key.len() > CREDENTIAL_BYTES_MAX {
            return Err(Error::ApiKeyInvalid);
        }
        let shared = &self.shared;
        let found = store::api_key::find_valid(&shared.db, hash_token(key)).await?;
        let key = found.ok_or(Error::ApiKeyInvalid)?;
        let customer = store::customer::find(&shared.db, key.customer).await?;
        let customer = customer.ok_or_else(|| Error::internal("a key without its customer"))?;
        let default = Duration::from_secs(self.config.token_seconds.into());
        let life = login.life.unwrap_or(default).clamp(LIFE_MIN, LIFE_MAX);
        let now = shared.clock.now();
        let expire_time = now + life;
        let token = Token {
            role: PrincipalRole::Customer,
            subject: name::customer(customer.id),
            customer: Some(customer.id),
            currency: Some(customer.currency),
            email: customer.email,
            fixed_address: login.fixed_address,
            create_time: now,
            expire_time: Some(expire_time),
        };
        let text = random_hex(&*shared.random);
        let mut tx = shared.db.begin().await?;
        // Read again, and held: a key that is revoked meanwhile must not leave a token behind.
        let is_valid = store::api_key::lock(&mut tx, key.id).await?;
        if is_valid.is_none_or(|key| key.revoke_time.is_some()) {
            return Err(Error::ApiKeyInvalid);
        }
        let hash = hash_token(&text);
        store::token::insert(&mut tx, hash, &token, Some(key.id)).await?;
        let mut after = session_state(&token, hash);
        after["api_key"] = serde_json::json!({ "id": key.id, "hint": key.hint });
        // The key proves who it is; the call itself comes from nobody yet.
        let cause = Cause::told(&token.subject, &cx.request_id);
        let entry = Entry::new(Event::SessionOpened, cause).customer(customer.id);
        entry.new_state(after).write(&mut tx, now).await?;
        tx.commit().await?;
        let (claims, _) = self.signer.sign(&principal_of(&token, None));
        Ok(LoggedIn { token: SecretString::from(text), expire_time, claims, email: token.email })
    }

    /// Revokes a token. The administrator's is not one that can be logged out.
    pub(crate) async fn logout(
        &self,
        cx: &RequestContext,
        token: &SecretString,
    ) -> Result<(), Error> {
        let shared = &self.shared;
        let hash = hash_token(token.expose_secret());
        let token = match store::token::find(&shared.db, hash).await? {
            Some(token) if token.expire_time.is_some() => token,
            _ => return Ok(()),
        };
        let mut tx = shared.db.begin().await?;
        if store::token::delete(&mut tx, hash).await? {
            let cause = Cause::told(&token.subject, &cx.request_id);
            let entry = Entry::new(Event::SessionClosed, cause);
            let entry = entry.customer(token.customer.unwrap_or(CustomerId(0)));
            let entry = entry.old_state(session_state(&token, hash));
            entry.write(&mut tx, shared.clock.now()).await?;
            events::push_tokens_revoked(&shared.outbox, &mut tx, &[hash.bytes().to_vec()]).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Says whose a token is, and signs it.
    pub(crate) async fn resolve_token(
        &self,
        cx: &RequestContext,
        (token, address): (&SecretString, &str),
        act_for: Option<CustomerId>,
    ) -> Result<Resolved, Error> {
        if !cx.is_service() {
            return Err(Error::RoleNotAllowed { what: "resolve tokens" });
        }
        let found = self.valid_token(token, address).await?;
        // A customer who names himself acts for nobody.
        let act_for = act_for.filter(|id| found.customer != Some(*id));
        let customer = match act_for {
            None => None,
            Some(id) => {
                if !matches!(found.role, PrincipalRole::Administrator | PrincipalRole::Service) {
                    return Err(Error::RoleNotAllowed { what: "act for others" });
                }
                let customer = store::customer::find(&self.shared.db, id).await?;
                Some(customer.ok_or(Error::CustomerNotFound)?)
            }
        };
        let acted_for = customer.as_ref().map(|customer| (customer.id, customer.currency));
        let principal = principal_of(&found, acted_for);
        let (claims, assertion) = self.signer.sign(&principal);
        Ok(Resolved {
            claims,
            assertion,
            expire_time: found.expire_time,
            email: customer.map_or(found.email, |customer| customer.email),
            currency: principal.currency.map(|c| c.to_string()).unwrap_or_default(),
        })
    }

    async fn valid_token(&self, token: &SecretString, address: &str) -> Result<Token, Error> {
        let token = token.expose_secret();
        if token.len() > CREDENTIAL_BYTES_MAX {
            return Err(Error::TokenInvalid);
        }
        let found = store::token::find(&self.shared.db, hash_token(token)).await?;
        let found = found.ok_or(Error::TokenInvalid)?;
        let now = self.shared.clock.now();
        let has_ended = found.expire_time.is_some_and(|end| end <= now);
        let is_elsewhere = !found.fixed_address.is_empty()
            && canonical_address(address).ok().as_ref() != Some(&found.fixed_address);
        if has_ended || is_elsewhere {
            return Err(Error::TokenInvalid);
        }
        Ok(found)
    }
}

/// What the audit shows of a session. Its id tells sessions apart, and is worth nothing else: it is
/// a quarter of the hash of a random token.
fn session_state(token: &Token, hash: TokenHash) -> serde_json::Value {
    serde_json::json!({
        "id": hex::encode(&hash.bytes()[..8]),
        "expire_time": token.expire_time.map(|time| time.unix_timestamp()),
        "fixed_address": token.fixed_address,
    })
}

fn principal_of(token: &Token, acted_for: Option<(CustomerId, Currency)>) -> Principal {
    Principal {
        role: token.role,
        subject: token.subject.clone(),
        customer: token.customer,
        acted_for: acted_for.map(|(id, _)| id),
        currency: acted_for.map(|(_, currency)| currency).or(token.currency),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical_address;

    #[test]
    fn one_address_has_one_text() {
        for (text, expected) in [
            ("", Some("")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("2001:DB8:0::1", Some("2001:db8::1")),
            ("192.0.2.1:80", None),
            ("here", None),
        ] {
            assert_eq!(canonical_address(text).ok().as_deref(), expected, "{text}");
        }
    }
}
