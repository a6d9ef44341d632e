//! Which key and which bucket a request names. Whatever comes is read; what is odd names nothing.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;
use stowage_types::BucketName;

/// Longest access key that is taken for one, in bytes.
///
/// Source: AWS IAM API reference, "AccessKey".
const KEY_BYTES_MAX: usize = 128;

/// A request says twice who has signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignedTwice;

/// The access key that a request says it is signed by, and the headers that are signed with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) access_key: Option<String>,
    signed_headers: String,
}

impl Signature {
    /// Reads what the headers and the query say.
    ///
    /// # Errors
    /// [`SignedTwice`]: the engine might believe the other.
    pub(crate) fn of(headers: &HeaderMap, query: &str) -> Result<Self, SignedTwice> {
        let mut found = Vec::new();
        for value in headers.get_all(AUTHORIZATION) {
            found.push(of_header(value)?);
        }
        // A query without a key is most of them.
        let mut signed_headers = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            if is("X-Amz-Credential") {
                found.push(Self { access_key: key_of_scope(&value), ..Self::default() });
            } else if is("AWSAccessKeyId") {
                found.push(Self { access_key: key(&value), ..Self::default() });
            } else if is("X-Amz-SignedHeaders") && signed_headers.is_none() {
                signed_headers = Some(value.into_owned());
            }
        }
        let mut signatures = found.into_iter();
        let mut signature = signatures.next().unwrap_or_default();
        if signatures.next().is_some() {
            return Err(SignedTwice);
        }
        if signature.signed_headers.is_empty() {
            signature.signed_headers = signed_headers.unwrap_or_default();
        }
        Ok(signature)
    }

    /// Whether a header, in lower case, is one of the signed ones.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|signed| signed.eq_ignore_ascii_case(name))
    }
}

/// Version 4 names it as `Credential`, version 2 before a colon.
fn of_header(value: &HeaderValue) -> Result<Signature, SignedTwice> {
    let Ok(text) = value.to_str() else { return Ok(Signature::default()) };
    let text = text.trim();
    let (scheme, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("AWS") {
        let access_key = rest.split_once(':').and_then(|(name, _)| key(name.trim()));
        return Ok(Signature { access_key, ..Signature::default() });
    }
    let mut signature = Signature::default();
    let mut is_named = false;
    for part in rest.split(',') {
        match part.trim().split_once('=') {
            Some(("Credential", _)) if is_named => return Err(SignedTwice),
            Some(("Credential", scope)) => {
                is_named = true;
                signature.access_key = key_of_scope(scope.trim());
            }
            Some(("SignedHeaders", names)) => {
                names.trim().clone_into(&mut signature.signed_headers)
            }
            _ => {}
        }
    }
    Ok(signature)
}

/// The key at the beginning of `key/date/region/service/aws4_request`.
fn key_of_scope(scope: &str) -> Option<String> {
    scope.split_once('/').and_then(|(name, _)| key(name))
}

fn key(text: &str) -> Option<String> {
    let is_key = (1..=KEY_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_key.then(|| text.to_owned())
}

/// The bucket that a request names: in its host, if that is below `domain`, else as the first part
/// of its path.
pub(crate) fn bucket_of(host: Option<&str>, path: &str, domain: Option<&str>) -> Option<String> {
    let of_host = in_host(host, domain);
    let name = match of_host {
        Some(name) => name,
        None => {
            let first = path.strip_prefix('/').unwrap_or(path).split('/').next()?;
            percent_decode_str(first).decode_utf8().ok()?.into_owned()
        }
    };
    BucketName::new(&name).ok().map(String::from)
}

/// The bucket that a host names, if it is below `domain`.
pub(crate) fn in_host(host: Option<&str>, domain: Option<&str>) -> Option<String> {
    host.zip(domain).and_then(|(host, domain)| below(host, domain))
}

/// Whether a request makes the bucket that it names. It is there only afterwards, so the request is
/// counted without it.
pub(crate) fn makes_bucket(method: &Method, uri: &Uri, is_in_host: bool) -> bool {
    let path = uri.path().trim_matches('/');
    let names_key = if is_in_host { !path.is_empty() } else { path.contains('/') };
    // What signs a URL is no part of what it is about.
    let is_about = |name: &str| {
        let name = name.to_ascii_lowercase();
        !name.starts_with("x-amz-")
            && !["x-id", "awsaccesskeyid", "expires", "signature"].contains(&name.as_str())
    };
    let query = uri.query().unwrap_or_default().as_bytes();
    *method == Method::PUT
        && !names_key
        && !form_urlencoded::parse(query).any(|(name, _)| is_about(&name))
}

/// What a host has before a domain; `None`: it is not below it.
fn below(host: &str, domain: &str) -> Option<String> {
    let host = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let name = host.strip_suffix(&domain.to_ascii_lowercase())?.strip_suffix('.')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The host that a request is for.
pub(crate) fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let header = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| uri.authority().map(http::uri::Authority::as_str))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signature(headers: &[&str], query: &str) -> Result<Signature, SignedTwice> {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(AUTHORIZATION, value.parse().unwrap());
        }
        Signature::of(&map, query)
    }

    #[test]
    fn the_key_is_found_wherever_it_is_named() {
        let v4 = "AWS4-HMAC-SHA256 Credential=KEY/20261128/r/s3/aws4_request, \
                  SignedHeaders=host;x-amz-date, Signature=00";
        let tight = v4.replace(", ", ",");
        let v4a = v4.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256");
        for (headers, query, expected) in [
            (&[v4][..], "list-type=2", Some("KEY")),
            (&[&tight], "", Some("KEY")),
            (&[&v4a], "", Some("KEY")),
            (&["AWS KEY:sig="], "", Some("KEY")),
            (&[], "X-Amz-Credential=KEY%2F20261128%2Fr%2Fs3%2Faws4_request", Some("KEY")),
            (&[], "x=1&X-Amz%2DCredential=KEY/a", Some("KEY")),
            (&[], "AWSAccessKeyId=KEY&Signature=x&Expires=1", Some("KEY")),
            (&[], "", None),
            (&["Bearer KEY"], "", None),
            (&["AWS4-HMAC-SHA256 Credential=/a"], "", None),
            (&["AWS4-HMAC-SHA256 Credential=K\tEY/a"], "", None),
            (&["AWS4-HMAC-SHA256"], "", None),
            (&["AWS "], "", None),
            (&["AWS :"], "", None),
        ] {
            let found = signature(headers, query).unwrap();
            assert_eq!(found.access_key.as_deref(), expected, "{headers:?} {query}");
        }
        let found = signature(&[v4], "").unwrap();
        assert!(found.covers("x-amz-date") && found.covers("host") && !found.covers("te"));
        let query = "X-Amz-SignedHeaders=host%3Bte&X-Amz-Credential=K/a";
        assert!(signature(&[], query).unwrap().covers("te"));
    }

    #[test]
    fn whoever_signs_twice_is_not_believed() {
        let v4 = "AWS4-HMAC-SHA256 Credential=KEY/a, Signature=00";
        for (headers, query) in [
            (&[v4, v4][..], ""),
            (&[v4], "X-Amz-Credential=OTHER/a"),
            (&[v4], "x-amz-credential=OTHER/a"),
            (&["AWS KEY:sig"], "AWSAccessKeyId=OTHER"),
            (&["Bearer x"], "AWSAccessKeyId=OTHER"),
            (&[], "AWSAccessKeyId=OTHER&X-Amz-Credential=KEY/a"),
            (&[], "X-Amz-Credential=A/a&X-Amz-Credential=B/a"),
            (&["AWS4-HMAC-SHA256 Credential=A/a, Credential=B/a"], ""),
        ] {
            assert_eq!(signature(headers, query), Err(SignedTwice), "{headers:?} {query}");
        }
    }

    #[test]
    fn the_bucket_is_in_the_host_or_in_the_path() {
        let domain = Some("s3.example.com");
        for (host, path, domain, expected) in [
            (Some("s3.example.com"), "/photos/a", domain, Some("photos")),
            (Some("photos.s3.example.com"), "/key/a", domain, Some("photos")),
            (Some("Photos.S3.Example.Com:8080"), "/key", domain, Some("photos")),
            (Some("a.b.s3.example.com."), "/key", domain, Some("a.b")),
            (Some("evils3.example.com"), "/photos", domain, Some("photos")),
            (Some("photos.s3.example.com"), "/other/k", None, Some("other")),
            (Some("[::1]:9000"), "/photos/", domain, Some("photos")),
            (None, "/photos", domain, Some("photos")),
            (None, "/ph%6ftos/k", None, Some("photos")),
            (None, "/", domain, None),
            (None, "//photos/k", None, None),
            (None, "*", None, None),
            (None, "/photos%2Fk", None, None),
            (None, "/%ff%ff%ff", None, None),
            (None, "/No Bucket", None, None),
        ] {
            let found = bucket_of(host, path, domain);
            assert_eq!(found.as_deref(), expected, "{host:?} {path}");
        }
    }

    #[test]
    fn what_makes_a_bucket_is_told_from_what_changes_one() {
        for (method, target, is_in_host, expected) in [
            (Method::PUT, "/photos", false, true),
            (Method::PUT, "/photos/?x-id=CreateBucket", false, true),
            (Method::PUT, "/photos?X-Amz-Credential=K&X-Amz-Signature=0", false, true),
            (Method::PUT, "/photos?AWSAccessKeyId=K&Expires=1&Signature=0", false, true),
            (Method::PUT, "/", true, true),
            (Method::PUT, "/photos?acl", false, false),
            (Method::PUT, "/photos/k", false, false),
            (Method::PUT, "/k", true, false),
            (Method::GET, "/photos", false, false),
            (Method::DELETE, "/photos", false, false),
        ] {
            let uri = target.parse().unwrap();
            assert_eq!(makes_bucket(&method, &uri, is_in_host), expected, "{method} {target}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_for_is_what_is_found(
            key in "[!-.0-9:-~]{1,128}",
            date in "[0-9]{8}",
            region in "[a-z0-9-]{0,20}",
        ) {
            prop_assume!(!key.contains(','));
            let scope = format!("{key}/{date}/{region}/s3/aws4_request");
            let header = format!("AWS4-HMAC-SHA256 Credential={scope}, Signature=0");
            prop_assert_eq!(signature(&[&header], "").unwrap().access_key, Some(key.clone()));
            let query: String = form_urlencoded::Serializer::new(String::new())
                .append_pair("X-Amz-Credential", &scope)
                .finish();
            prop_assert_eq!(signature(&[], &query).unwrap().access_key, Some(key));
        }

        #[test]
        fn whatever_comes_is_read(
            header in "\\PC{0,200}", query in "\\PC{0,200}",
            host in "\\PC{0,80}", path in "\\PC{0,80}",
        ) {
            let mut map = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(header.as_bytes()) {
                map.insert(AUTHORIZATION, value);
            }
            let found = Signature::of(&map, &query);
            if let Ok(Signature { access_key: Some(key), .. }) = found {
                prop_assert!(!key.is_empty() && key.len() <= KEY_BYTES_MAX);
            }
            let bucket = bucket_of(Some(&host), &path, Some("s3.example.com"));
            prop_assert!(bucket.is_none_or(|name| BucketName::new(&name).is_ok()));
        }
    }
}
