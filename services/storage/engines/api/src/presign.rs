//! URLs that are signed beforehand, for every engine that speaks signature version 4.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use stowage_types::BucketName;
use time::OffsetDateTime;

use crate::{Error, KeyPair};

/// Longest time that a signature of version 4 may be valid for.
///
/// Source: Amazon S3 API reference, "Authenticating requests: using query parameters".
pub const VALID_FOR_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What stands for itself in the path of a signed request, and `/` between its parts.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What a URL shall allow to whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresignMethod {
    /// Reading the object.
    Get,
    /// Writing the object.
    Put,
}

/// A URL that is signed beforehand.
#[derive(Debug, Clone)]
pub struct Presign {
    /// What it allows.
    pub method: PresignMethod,
    /// Where clients reach S3: a URL without a path. The bucket is named in the path.
    pub endpoint: String,
    /// Region that clients sign for.
    pub region: String,
    /// Key of the object, which need not be there.
    pub key: String,
    /// How long it works: 1 second to [`VALID_FOR_MAX`].
    pub valid_for: Duration,
}

impl Presign {
    /// The URL, signed at `now` by a key pair that may do this.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the time is out of bounds, the key is empty, or the endpoint is no URL.
    pub fn url(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        now: OffsetDateTime,
    ) -> Result<SecretString, Error> {
        let invalid = |why: &str| Error::Invalid { why: why.to_owned() };
        if self.valid_for < Duration::from_secs(1) || self.valid_for > VALID_FOR_MAX {
            return Err(invalid("a URL is valid for 1 second to 7 days"));
        }
        if self.key.is_empty() {
            return Err(invalid("the key is empty"));
        }
        let path = utf8_percent_encode(&self.key, PATH);
        let url = format!("{}/{}/{path}", self.endpoint.trim_end_matches('/'), bucket.as_str());
        let signed = self.parameters(&url, keys, now);
        let signed = signed.map_err(|error| invalid(&format!("it cannot be signed: {error}")))?;
        Ok(SecretString::from(format!("{url}?{signed}")))
    }

    /// The query that signs a URL.
    fn parameters(
        &self,
        url: &str,
        keys: &KeyPair,
        now: OffsetDateTime,
    ) -> Result<String, crate::BoxError> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(self.valid_for);
        // As S3 has it: the path is what was sent, escaped once.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        let secret = keys.secret_key.expose_secret();
        let identity = Credentials::new(&keys.access_key, secret, None, None, "stowage").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(now.into())
            .settings(settings)
            .build()?
            .into();
        let method = match self.method {
            PresignMethod::Get => "GET",
            PresignMethod::Put => "PUT",
        };
        let request =
            SignableRequest::new(method, url, std::iter::empty(), SignableBody::UnsignedPayload)?;
        let (instructions, _) = sign(request, &params)?.into_parts();
        let query = instructions.params().iter();
        let query: Vec<String> = query
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        Ok(query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn presign(key: &str, seconds: u64) -> Result<String, Error> {
        let keys = KeyPair {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        };
        let what = Presign {
            method: PresignMethod::Get,
            endpoint: "https://s3.example.com/".to_owned(),
            region: "us-east-1".to_owned(),
            key: key.to_owned(),
            valid_for: Duration::from_secs(seconds),
        };
        let bucket = BucketName::new("examplebucket").unwrap();
        let url = what.url(&keys, &bucket, datetime!(2013-05-24 00:00:00 UTC))?;
        Ok(url.expose_secret().to_owned())
    }

    #[test]
    fn a_url_names_what_it_allows_and_until_when() {
        let url = presign("a b/ü+?.txt", 86_400).unwrap();
        let (place, query) = url.split_once('?').unwrap();
        assert_eq!(place, "https://s3.example.com/examplebucket/a%20b/%C3%BC%2B%3F.txt");
        for part in [
            "X-Amz-Algorithm=AWS4%2DHMAC%2DSHA256",
            "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus%2Deast%2D1%2Fs3%2F",
            "X-Amz-Date=20130524T000000Z",
            "X-Amz-Expires=86400",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Signature=",
        ] {
            assert!(query.contains(part), "{part} is not in {query}");
        }
        assert!(!url.contains("wJalrXUtnFEMI"));
    }

    #[test]
    fn what_no_server_would_take_is_not_signed() {
        for (key, seconds) in [("k", 0), ("k", 604_801), ("", 60)] {
            assert!(matches!(presign(key, seconds), Err(Error::Invalid { .. })), "{key} {seconds}");
        }
        presign("k", 604_800).unwrap();
    }
}
