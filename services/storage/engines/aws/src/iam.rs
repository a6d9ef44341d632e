//! IAM: signed questions, and what they are for.
//!
//! A small client of our own: the library for IAM has some 160 operations of which thirteen are
//! needed, and would be compiled in every build, while the signature, connections and XML that
//! these take are in the program already.
//!
//! Users are named by their account's uid, under a path that says whose installation they are of.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::primitives::SdkBody;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use stowage_engine::{Error, KeyPair};
use stowage_engine_remote::{Fault, Net};
use stowage_types::{Clock, S3uid};

use crate::options::AwsOptions;
use crate::wire::{
    FoundPolicy, FoundUser, Key, KeyPage, KeyUse, MadeKey, User, UserPage, code_in, understood,
};

/// Longest answer that is read: a page of users.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Of the query API.
///
/// Source: AWS Identity and Access Management API Reference.
const VERSION: &str = "2010-05-08";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// All but unreserved characters.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Name of the policy that is an account's record.
const POLICY: &str = "stowage";
/// Keys of a user, whatever they are called elsewhere: letters and digits.
///
/// Source: as above, the pattern and the length of `AccessKeyId`.
const KEY_CHARS: std::ops::RangeInclusive<usize> = 16..=128;

/// A client of IAM.
#[derive(Debug)]
pub(crate) struct Iam {
    net: Net,
    url: String,
    region: String,
    identity: Identity,
    clock: Arc<dyn Clock>,
    call_timeout: Duration,
    /// `/stowage/`
    path: String,
}

/// What a refusal means, unless the caller knows better.
fn error_of(fault: Fault) -> Error {
    match fault.code() {
        // Said with 400, as of a wrong question.
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => Error::unavailable(fault),
        // Too many users: whoever runs the AWS account can have more.
        "LimitExceeded" | "LimitExceededException" => Error::unavailable(fault),
        "EntityTemporarilyUnmodifiable" | "ConcurrentModification" | "DeleteConflict" => {
            Error::Conflict
        }
        _ => fault.into(),
    }
}

/// A question, in the one encoding that also who takes it apart and puts it together again to look
/// at its signature comes to.
fn form_of(action: &str, parameters: &[(&str, &str)]) -> String {
    let mut form = format!("Action={action}&Version={VERSION}");
    for (name, value) in parameters {
        form.push_str(&format!("&{name}="));
        form.extend(utf8_percent_encode(value, &ENCODED));
    }
    form
}

fn is_absent(fault: &Fault) -> bool {
    fault.code() == "NoSuchEntity"
}

/// `None`: it is not there.
fn found<T>(answer: Result<T, Fault>) -> Result<Option<T>, Error> {
    match answer {
        Err(fault) if is_absent(&fault) => Ok(None),
        answer => answer.map(Some).map_err(error_of),
    }
}

/// What is not there is gone.
fn gone(answer: Result<Bytes, Fault>) -> Result<(), Error> {
    found(answer).map(drop)
}

impl Iam {
    pub(crate) fn new(
        net: Net,
        endpoint: &str,
        options: &AwsOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let secret = options.secret_key.expose_secret();
        let credentials = Credentials::new(&options.access_key, secret, None, None, "stowage");
        Self {
            net,
            url: format!("{endpoint}/"),
            region: options.iam_region.clone(),
            identity: credentials.into(),
            clock,
            call_timeout: options.call_timeout,
            path: format!("/{}/", options.marker),
        }
    }

    /// Whether a user is under our path.
    pub(crate) fn is_ours(&self, user: &User) -> bool {
        user.path == self.path
    }

    pub(crate) async fn user(&self, name: &str) -> Result<Option<User>, Error> {
        let asked = self.read::<FoundUser>("GetUser", &[("UserName", name)]).await;
        Ok(found(asked)?.map(|found| found.user))
    }

    /// Makes a user without rights. One that is there is a lost race: a look tells whose it is.
    pub(crate) async fn create_user(&self, uid: &S3uid) -> Result<(), Error> {
        let made = self.act("CreateUser", uid, &[("Path", &self.path)]).await;
        match made {
            Err(fault) if fault.code() == "EntityAlreadyExists" => Err(Error::Conflict),
            made => made.map(drop).map_err(error_of),
        }
    }

    /// Deletes a user who has neither keys nor policies.
    pub(crate) async fn delete_user(&self, uid: &S3uid) -> Result<(), Error> {
        gone(self.act("DeleteUser", uid, &[]).await)
    }

    /// A page of our users, in IAM's order.
    pub(crate) async fn users(&self, marker: Option<&str>, max: u32) -> Result<UserPage, Error> {
        let max = max.to_string();
        let mut parameters = vec![("PathPrefix", self.path.as_str()), ("MaxItems", &max)];
        parameters.extend(marker.map(|marker| ("Marker", marker)));
        self.read("ListUsers", &parameters).await.map_err(error_of)
    }

    /// The policy that is an account's record, as text of JSON.
    pub(crate) async fn policy(&self, uid: &S3uid) -> Result<Option<String>, Error> {
        let parameters = [("UserName", uid.as_str()), ("PolicyName", POLICY)];
        let asked = self.read::<FoundPolicy>("GetUserPolicy", &parameters).await;
        let Some(policy) = found(asked)? else { return Ok(None) };
        let text = percent_decode_str(policy.policy_document.trim()).decode_utf8();
        Ok(Some(text.map_err(Error::unavailable)?.into_owned()))
    }

    /// Writes the policy as a whole.
    pub(crate) async fn put_policy(&self, uid: &S3uid, document: &str) -> Result<(), Error> {
        let parameters = [("PolicyName", POLICY), ("PolicyDocument", document)];
        match self.act("PutUserPolicy", uid, &parameters).await {
            // The text is longer than IAM takes.
            Err(fault) if fault.code() == "LimitExceeded" => Err(Error::LimitReached),
            put => put.map(drop).map_err(error_of),
        }
    }

    pub(crate) async fn delete_policy(&self, uid: &S3uid) -> Result<(), Error> {
        gone(self.act("DeleteUserPolicy", uid, &[("PolicyName", POLICY)]).await)
    }

    /// Keys of a user, by id. IAM allows two, so there is one page.
    pub(crate) async fn keys(&self, uid: &S3uid) -> Result<Vec<Key>, Error> {
        let asked = self.read::<KeyPage>("ListAccessKeys", &[("UserName", uid.as_str())]).await;
        let mut keys = asked.map_err(error_of)?.access_key_metadata.members;
        keys.sort_unstable_by(|a, b| a.access_key_id.cmp(&b.access_key_id));
        Ok(keys)
    }

    /// Makes a key; nobody is told its secret again.
    pub(crate) async fn create_key(&self, uid: &S3uid) -> Result<KeyPair, Error> {
        let asked = self.read::<MadeKey>("CreateAccessKey", &[("UserName", uid.as_str())]).await;
        match asked {
            Err(fault) if fault.code() == "LimitExceeded" => Err(Error::LimitReached),
            asked => {
                let key = asked.map_err(error_of)?.access_key;
                Ok(KeyPair { access_key: key.access_key_id, secret_key: key.secret_access_key })
            }
        }
    }

    pub(crate) async fn set_active(
        &self,
        uid: &S3uid,
        id: &str,
        is_active: bool,
    ) -> Result<(), Error> {
        let status = if is_active { "Active" } else { "Inactive" };
        let parameters = [("AccessKeyId", id), ("Status", status)];
        match self.act("UpdateAccessKey", uid, &parameters).await {
            // It was just seen: another has deleted it.
            Err(fault) if is_absent(&fault) => Err(Error::Conflict),
            set => set.map(drop).map_err(error_of),
        }
    }

    pub(crate) async fn delete_key(&self, uid: &S3uid, id: &str) -> Result<(), Error> {
        gone(self.act("DeleteAccessKey", uid, &[("AccessKeyId", id)]).await)
    }

    /// Whose a key is, and when it was used; `None`: nobody's of this AWS account.
    pub(crate) async fn key_use(&self, id: &str) -> Result<Option<KeyUse>, Error> {
        let is_id = |id: &str| id.chars().all(|c| c.is_ascii_alphanumeric());
        if !KEY_CHARS.contains(&id.len()) || !is_id(id) {
            return Ok(None);
        }
        match self.read("GetAccessKeyLastUsed", &[("AccessKeyId", id)]).await {
            // So it says of a key that is nobody's here, and of all keys to who may not ask.
            Err(fault) if ["AccessDenied", "ValidationError"].contains(&fault.code()) => {
                let own: Option<KeyUse> = found(self.own_use().await)?;
                own.map(|_| None).ok_or(Error::Denied)
            }
            asked => found(asked),
        }
    }

    /// Asks of our own key, whether we may ask.
    async fn own_use(&self) -> Result<KeyUse, Fault> {
        let credentials: Option<&Credentials> = self.identity.data();
        let id = credentials.map(Credentials::access_key_id).unwrap_or_default();
        self.read("GetAccessKeyLastUsed", &[("AccessKeyId", id)]).await
    }

    async fn act(
        &self,
        action: &str,
        uid: &S3uid,
        parameters: &[(&str, &str)],
    ) -> Result<Bytes, Fault> {
        let mut all = vec![("UserName", uid.as_str())];
        all.extend_from_slice(parameters);
        self.answer(action, &all).await
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, Fault> {
        understood(action, &self.answer(action, parameters).await?)
    }

    async fn answer(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Bytes, Fault> {
        let request = self.signed(form_of(action, parameters))?;
        let (status, body) = self.net.ask(request, self.call_timeout, ANSWER_BYTES_MAX).await?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        Err(Fault::Refused { status, code: code_in(&body) })
    }

    fn signed(&self, body: String) -> Result<Request<SdkBody>, Fault> {
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("iam")
            .time(SystemTime::from(self.clock.now()))
            .settings(SigningSettings::default())
            .build()
            .map_err(Fault::failed)?
            .into();
        let headers = [(CONTENT_TYPE.as_str(), FORM)];
        let covered = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", &self.url, headers.into_iter(), covered);
        let signable = signable.map_err(Fault::failed)?;
        let (instructions, _) = sign(signable, &params).map_err(Fault::failed)?.into_parts();
        let request = Request::post(&self.url).header(CONTENT_TYPE, FORM);
        let mut request = request.body(SdkBody::from(body)).map_err(Fault::failed)?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_iam_refuses_means_what_it_says() {
        type Expected = fn(&Error) -> bool;
        let table: &[(u16, &str, Expected)] = &[
            (400, "Throttling", |e| matches!(e, Error::Unavailable { .. })),
            (409, "LimitExceeded", |e| matches!(e, Error::Unavailable { .. })),
            (409, "DeleteConflict", |e| matches!(e, Error::Conflict)),
            (409, "EntityTemporarilyUnmodifiable", |e| matches!(e, Error::Conflict)),
            (404, "NoSuchEntity", |e| matches!(e, Error::NotFound)),
            (403, "InvalidClientTokenId", |e| matches!(e, Error::Denied)),
            (400, "MalformedPolicyDocument", |e| matches!(e, Error::Invalid { .. })),
            (500, "ServiceFailure", |e| matches!(e, Error::Unavailable { .. })),
            (503, "", |e| matches!(e, Error::Unavailable { .. })),
        ];
        for (status, code, expected) in table {
            let status = StatusCode::from_u16(*status).unwrap();
            let error = error_of(Fault::Refused { status, code: (*code).to_owned() });
            assert!(expected(&error), "{status} {code}: {error:?}");
        }
    }
}
