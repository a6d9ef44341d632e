//! What an account is: the inline policy of its user, which is in force as it is read.
//!
//! Its first statement has a name (`Sid`) that tells quota, limit of buckets and access, and lists
//! the buckets that are open to the account. A second one shuts buckets that are being made or
//! deleted. So there is one text, written as a whole: whoever reads it sees one specification,
//! and what it says is what IAM does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stowage_engine::{AccountAccess, AccountSpec, Error, Quota};

/// Begins the name of the first statement. A name has letters and digits only.
const NAME: &str = "StowageV1";
/// Name of the second statement.
const SHUT: &str = "Shut";
/// Of the policy language.
const LANGUAGE: &str = "2012-10-17";
/// Characters of all inline policies of a user.
///
/// Source: AWS IAM User Guide, "IAM and AWS STS quotas".
const TEXT_MAX: usize = 2048;
/// What reading takes, and deleting, which adds no bytes.
const READING: [&str; 7] = [
    "s3:AbortMultipartUpload",
    "s3:DeleteObject*",
    "s3:GetBucketCORS",
    "s3:GetBucketLocation",
    "s3:GetObject*",
    "s3:List*Upload*",
    "s3:ListBucket*",
];
/// What writing takes in addition. Rights of others (policies, ACLs), tags of buckets, versions and
/// storage at other prices are not a customer's to give.
const WRITING: [&str; 3] = ["s3:PutBucketCORS", "s3:PutObject", "s3:PutObjectTagging"];
const ALL: &str = "s3:*";

/// What an account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) quota: Quota,
    pub(crate) bucket_max: Option<u32>,
    pub(crate) access: AccountAccess,
    /// Its buckets.
    pub(crate) open: BTreeSet<String>,
    /// Names whose buckets are being made or deleted; nobody gets into them.
    pub(crate) shut: BTreeSet<String>,
}

/// How buckets are named in policies.
#[derive(Debug, Clone)]
pub(crate) struct Names(String);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: String,
    statement: Vec<Statement>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: String,
    effect: Effect,
    action: Vec<String>,
    resource: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

impl Names {
    /// Buckets of a region: some are of another AWS, with names of its own.
    pub(crate) fn of_region(region: &str) -> Self {
        let partition = match region {
            _ if region.starts_with("cn-") => "aws-cn",
            _ if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        Self(format!("arn:{partition}:s3:::"))
    }

    fn bucket(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    fn objects(&self, name: &str) -> String {
        format!("{}{name}/*", self.0)
    }

    /// The names of buckets among resources.
    fn read(&self, resources: &[String]) -> BTreeSet<String> {
        let names = resources.iter().filter_map(|resource| resource.strip_prefix(&self.0));
        names.filter(|name| !name.contains(['/', '*'])).map(str::to_owned).collect()
    }
}

impl Record {
    /// An account that has no buckets yet.
    pub(crate) fn of(spec: &AccountSpec) -> Self {
        Self {
            quota: spec.quota,
            bucket_max: spec.bucket_max,
            access: spec.access,
            open: BTreeSet::new(),
            shut: BTreeSet::new(),
        }
    }

    /// The same buckets, and else as specified.
    pub(crate) fn changed_to(&self, spec: &AccountSpec) -> Self {
        Self { open: self.open.clone(), shut: self.shut.clone(), ..Self::of(spec) }
    }

    /// Whether there may be one of this name, beside the others.
    pub(crate) fn allows_bucket(&self, name: &str) -> bool {
        let others = self.open.union(&self.shut).filter(|own| *own != name).count();
        self.bucket_max.is_none_or(|max| others < usize::try_from(max).unwrap_or(usize::MAX))
    }

    /// The text that IAM keeps.
    ///
    /// # Errors
    /// [`Error::LimitReached`]: it has more buckets than a text has room for.
    pub(crate) fn text(&self, names: &Names) -> Result<String, Error> {
        let mut statement = vec![self.first(names)];
        if !self.shut.is_empty() {
            let resource = self.shut.iter().map(|name| names.bucket(name)).collect();
            let action = vec![ALL.to_owned()];
            let (sid, effect) = (SHUT.to_owned(), Effect::Deny);
            statement.push(Statement { sid, effect, action, resource });
        }
        let document = Document { version: LANGUAGE.to_owned(), statement };
        let text = serde_json::to_string(&document).map_err(Error::unavailable)?;
        if text.len() > TEXT_MAX { Err(Error::LimitReached) } else { Ok(text) }
    }

    fn first(&self, names: &Names) -> Statement {
        let actions: Vec<&str> = match self.access {
            AccountAccess::Full => READING.iter().chain(&WRITING).copied().collect(),
            AccountAccess::ReadOnly => READING.to_vec(),
            AccountAccess::Suspended => vec![ALL],
        };
        let is_suspended = self.access == AccountAccess::Suspended;
        // A statement names something, and all of it is denied where nothing is to be allowed.
        let denies = is_suspended || self.open.is_empty();
        let mut resource = Vec::new();
        if denies {
            resource.push(names.bucket("*"));
        }
        for name in &self.open {
            resource.push(names.bucket(name));
            if !denies {
                resource.push(names.objects(name));
            }
        }
        Statement {
            sid: self.name(),
            effect: if denies { Effect::Deny } else { Effect::Allow },
            action: actions.into_iter().map(str::to_owned).collect(),
            resource,
        }
    }

    /// `StowageV1Q1000O5B3F`: what is bounded, and access.
    fn name(&self) -> String {
        let mut name = NAME.to_owned();
        let bounds = [
            ('Q', self.quota.bytes),
            ('O', self.quota.objects),
            ('B', self.bucket_max.map(u64::from)),
        ];
        for (letter, bound) in bounds {
            if let Some(bound) = bound {
                name.push_str(&format!("{letter}{bound}"));
            }
        }
        name.push(match self.access {
            AccountAccess::Full => 'F',
            AccountAccess::ReadOnly => 'R',
            AccountAccess::Suspended => 'S',
        });
        name
    }

    /// Reads a text that [`Self::text`] has made; `None`: somebody else has.
    pub(crate) fn read(text: &str, names: &Names) -> Option<Self> {
        let document: Document = serde_json::from_str(text).ok()?;
        let [first, rest @ ..] = document.statement.as_slice() else { return None };
        let mut record = Self::named(&first.sid)?;
        record.open = names.read(&first.resource);
        if let Some(second) = rest.first() {
            record.shut = names.read(&second.resource);
        }
        // Of one that was changed by hand we do not know what it lets him do.
        let is_as_written = record.text(names).is_ok_and(|own| {
            serde_json::from_str::<serde_json::Value>(&own).ok()
                == serde_json::from_str::<serde_json::Value>(text).ok()
        });
        is_as_written.then_some(record)
    }

    fn named(name: &str) -> Option<Self> {
        let mut record = Self {
            quota: Quota::default(),
            bucket_max: None,
            access: AccountAccess::Full,
            open: BTreeSet::new(),
            shut: BTreeSet::new(),
        };
        let mut rest = name.strip_prefix(NAME)?;
        loop {
            let letter = rest.chars().next()?;
            let after = &rest[letter.len_utf8()..];
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let (digits, more) = after.split_at(end);
            match letter {
                'Q' => record.quota.bytes = Some(digits.parse().ok()?),
                'O' => record.quota.objects = Some(digits.parse().ok()?),
                'B' => record.bucket_max = Some(digits.parse().ok()?),
                'F' => {}
                'R' => record.access = AccountAccess::ReadOnly,
                'S' => record.access = AccountAccess::Suspended,
                _ => return None,
            }
            if more.is_empty() {
                return Some(record);
            }
            rest = more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESSES: [AccountAccess; 3] =
        [AccountAccess::Full, AccountAccess::ReadOnly, AccountAccess::Suspended];

    fn names() -> Names {
        Names::of_region("eu-central-1")
    }

    fn record(access: AccountAccess, open: &[&str], shut: &[&str]) -> Record {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Record {
            quota: Quota { bytes: Some(u64::MAX), objects: Some(0) },
            bucket_max: Some(7),
            access,
            open: set(open),
            shut: set(shut),
        }
    }

    #[test]
    fn a_record_comes_back_from_its_text() {
        for access in ACCESSES {
            for open in [&[][..], &["one"], &["a.b", "one"]] {
                for shut in [&[][..], &["two"]] {
                    let mut record = record(access, open, shut);
                    for _ in 0..2 {
                        let text = record.text(&names()).unwrap();
                        assert_eq!(Record::read(&text, &names()), Some(record.clone()), "{text}");
                        (record.quota, record.bucket_max) = (Quota::default(), None);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_allowed_is_in_the_accounts_own_buckets_only() {
        let text = record(AccountAccess::Full, &["one"], &["two"]).text(&names()).unwrap();
        let expected = concat!(
            r#"{"Version":"2012-10-17","#,
            r#""Statement":[{"Sid":"StowageV1Q18446744073709551615O0B7F","Effect":"Allow","#,
            r#""Action":["s3:AbortMultipartUpload","s3:DeleteObject*","s3:GetBucketCORS","#,
            r#""s3:GetBucketLocation","s3:GetObject*","s3:List*Upload*","s3:ListBucket*","#,
            r#""s3:PutBucketCORS","s3:PutObject","s3:PutObjectTagging"],"#,
            r#""Resource":["arn:aws:s3:::one","arn:aws:s3:::one/*"]},{"Sid":"Shut","#,
            r#""Effect":"Deny","Action":["s3:*"],"Resource":["arn:aws:s3:::two"]}]}"#,
        );
        assert_eq!(text, expected);
        for (access, open) in [(AccountAccess::Suspended, &["one"][..]), (AccountAccess::Full, &[])]
        {
            let text = record(access, open, &[]).text(&names()).unwrap();
            assert!(!text.contains("Allow") && text.contains(r#""arn:aws:s3:::*""#), "{text}");
        }
        let text = record(AccountAccess::ReadOnly, &["one"], &[]).text(&names()).unwrap();
        assert!(text.contains("Allow") && !text.contains("s3:Put"), "{text}");
    }

    #[test]
    fn a_text_that_others_have_made_or_changed_is_none_of_ours() {
        let text = record(AccountAccess::ReadOnly, &["one"], &[]).text(&names()).unwrap();
        let wider = text.replace("s3:GetObject*", "s3:*");
        for other in [
            "",
            "{}",
            r#"{"Version":"2012-10-17","Statement":[]}"#,
            &text.replace("StowageV1", "StowageV2"),
            &text.replace("B7R", "B7"),
            &text.replace("B7R", "B7x"),
            &text.replace("one/*", "*"),
            &wider,
        ] {
            assert_eq!(Record::read(other, &names()), None, "{other}");
        }
        assert!(Record::read(&text, &Names::of_region("cn-north-1")).is_none());
    }

    #[test]
    fn there_is_room_for_some_buckets() {
        // The limits that the README states.
        for (chars, room) in [(63, 10), (20, 23), (8, 34)] {
            let mut record = record(AccountAccess::Full, &[], &[]);
            let fits = |record: &Record| {
                ACCESSES.iter().all(|access| {
                    Record { access: *access, ..record.clone() }.text(&names()).is_ok()
                })
            };
            while fits(&record) {
                record.open.insert(format!("{:0>chars$}", record.open.len()));
            }
            assert_eq!(record.open.len() - 1, room, "{chars}");
        }
    }

    #[test]
    fn a_limit_of_buckets_counts_those_in_transit() {
        let mut record = record(AccountAccess::Full, &["one"], &["two"]);
        for (max, name, allowed) in
            [(2, "three", false), (3, "three", true), (2, "two", true), (1, "two", false)]
        {
            record.bucket_max = Some(max);
            assert_eq!(record.allows_bucket(name), allowed, "{max} {name}");
        }
    }
}
