//! What IAM answers, in XML. Elements we do not know are skipped.

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use stowage_engine_remote::Fault;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An answer: what is asked for stands in an element that is named for the question.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer<T> {
    #[serde(
        alias = "CreateAccessKeyResult",
        alias = "GetAccessKeyLastUsedResult",
        alias = "GetUserResult",
        alias = "GetUserPolicyResult",
        alias = "ListAccessKeysResult",
        alias = "ListUsersResult"
    )]
    result: T,
}

/// A list.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub(crate) struct Members<T> {
    #[serde(rename = "member", default = "Vec::new")]
    pub(crate) members: Vec<T>,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { members: Vec::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FoundUser {
    pub(crate) user: User,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct User {
    pub(crate) path: String,
    pub(crate) user_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UserPage {
    #[serde(default)]
    pub(crate) users: Members<User>,
    #[serde(default)]
    pub(crate) is_truncated: bool,
    #[serde(default)]
    pub(crate) marker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FoundPolicy {
    pub(crate) policy_document: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KeyPage {
    #[serde(default)]
    pub(crate) access_key_metadata: Members<Key>,
}

/// A key of a user.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Key {
    pub(crate) access_key_id: String,
    pub(crate) status: String,
}

impl Key {
    pub(crate) fn is_active(&self) -> bool {
        self.status == "Active"
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MadeKey {
    pub(crate) access_key: NewKey,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NewKey {
    pub(crate) access_key_id: String,
    #[serde(deserialize_with = "secret")]
    pub(crate) secret_access_key: SecretString,
}

/// Whose a key is, and when it was used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KeyUse {
    #[serde(default)]
    pub(crate) user_name: String,
    #[serde(default)]
    access_key_last_used: Option<LastUse>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LastUse {
    #[serde(default)]
    last_used_date: Option<String>,
}

impl KeyUse {
    /// `None`: it was not used, or not since IAM began to note it.
    pub(crate) fn time(&self) -> Option<OffsetDateTime> {
        let text = self.access_key_last_used.as_ref()?.last_used_date.as_ref()?;
        OffsetDateTime::parse(text, &Rfc3339).ok()
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// What an action was answered with. What was there is not told in an error: it may be a secret.
pub(crate) fn understood<T: DeserializeOwned>(action: &str, body: &[u8]) -> Result<T, Fault> {
    let told = || Fault::failed(format!("the answer to {action} is not understood"));
    let text = std::str::from_utf8(body).map_err(|_| told())?;
    let answer: Answer<T> = quick_xml::de::from_str(text).map_err(|_| told())?;
    Ok(answer.result)
}

/// The code of a refusal; empty: there is none, such as in the HTML of what stands between.
pub(crate) fn code_in(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let after = text.split_once("<Code>").map(|(_, after)| after);
    let code = after.and_then(|after| after.split_once("</Code>")).map(|(code, _)| code.trim());
    code.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use time::macros::datetime;

    use super::*;

    const META: &str = "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>";

    fn read<T: DeserializeOwned>(action: &str, result: &str) -> Result<T, Fault> {
        let text = format!(
            "<?xml version=\"1.0\"?>\n<{action}Response xmlns=\"https://iam.amazonaws.com/doc/\
             2010-05-08/\"><{action}Result>{result}</{action}Result>{META}</{action}Response>"
        );
        understood(action, text.as_bytes())
    }

    #[test]
    fn pages_are_read_empty_and_full() {
        let page: UserPage = read("ListUsers", "<Users/><IsTruncated>false</IsTruncated>").unwrap();
        assert!(page.users.members.is_empty() && !page.is_truncated && page.marker.is_none());
        let text = "<IsTruncated>true</IsTruncated><Marker>m&amp;/=</Marker><Users>\
            <member><Path>/a/</Path><UserName>one</UserName><New>x</New></member>\
            <member><Path>/a/</Path><UserName>two</UserName></member></Users>";
        let page: UserPage = read("ListUsers", text).unwrap();
        let names: Vec<_> = page.users.members.iter().map(|user| user.user_name.as_str()).collect();
        assert_eq!((names, page.marker.as_deref()), (vec!["one", "two"], Some("m&/=")));
        let keys: KeyPage =
            read("ListAccessKeys", "<AccessKeyMetadata></AccessKeyMetadata>").unwrap();
        assert!(keys.access_key_metadata.members.is_empty());
    }

    #[test]
    fn a_new_key_has_its_secret_and_does_not_print_it() {
        let text = "<AccessKey><UserName>u</UserName><AccessKeyId>AKIA1</AccessKeyId>\
            <Status>Active</Status><SecretAccessKey>hu/sh+</SecretAccessKey></AccessKey>";
        let made: MadeKey = read("CreateAccessKey", text).unwrap();
        assert_eq!(made.access_key.secret_access_key.expose_secret(), "hu/sh+");
        assert!(!format!("{made:?}").contains("hu/sh+"));
    }

    #[test]
    fn a_key_that_was_not_used_has_no_time() {
        let text = |date: &str| {
            format!(
                "<UserName>u</UserName><AccessKeyLastUsed>{date}\
            <Region>N/A</Region></AccessKeyLastUsed>"
            )
        };
        let action = "GetAccessKeyLastUsed";
        for (date, expected) in [
            ("", None),
            ("<LastUsedDate>N/A</LastUsedDate>", None),
            (
                "<LastUsedDate>2026-11-25T10:00:00Z</LastUsedDate>",
                Some(datetime!(2026-11-25 10:00 UTC)),
            ),
        ] {
            let told: KeyUse = read(action, &text(date)).unwrap();
            assert_eq!(told.time(), expected, "{date}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused_without_telling_it() {
        for body in ["", "<html>hush</html>", "{\"hush\":1}", "<A><B>hush", "\u{0}"] {
            let fault = understood::<UserPage>("ListUsers", body.as_bytes()).unwrap_err();
            assert!(!format!("{fault:?}").contains("hush"), "{body}");
        }
        assert!(understood::<UserPage>("ListUsers", &[0xff, 0xfe]).is_err());
    }

    #[test]
    fn refusals_have_codes() {
        for (body, expected) in [
            (
                "<ErrorResponse><Error><Code>NoSuchEntity</Code></Error></ErrorResponse>",
                "NoSuchEntity",
            ),
            ("<html><Code>", ""),
            ("", ""),
        ] {
            assert_eq!(code_in(body.as_bytes()), expected);
        }
    }
}
