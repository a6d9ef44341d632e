//! The parameters of the facade: their names, the names clients in the field send instead, and
//! what a good value is. One definition each; the table of actions refers to them.

use stowage_types::{BucketName, CustomerId, name::check_location_code};

use super::request::Params;
use super::units::parse_day;

/// What a good value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Any text of at most this many bytes.
    Text { bytes_max: usize },
    /// A whole number from `min`. Above `max` it is refused, or taken as `max` if `clamp`.
    Int { min: i64, max: i64, clamp: bool },
    /// `Y-m-d`.
    Date,
    /// An account, by s3uid or integer id. Whatever it is, it is an account that is not there.
    Account,
    /// A bucket's name by the rules of S3.
    Bucket,
    /// A location's code, in any case.
    Location,
    /// One of these, in any case.
    Choice(&'static [&'static str]),
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) kind: Kind,
    /// For the document of the facade: what it means, and a good value.
    pub(crate) about: &'static str,
    pub(crate) example: &'static str,
}

/// Declares parameters: name, aliases, kind, what it means, a good value.
macro_rules! params {
    ($(
        $(#[$doc:meta])* $ident:ident = $name:literal $(| $alias:literal)*: $kind:expr,
        $about:literal, $example:literal;
    )*) => {$(
        $(#[$doc])*
        pub(crate) static $ident: Param = Param {
            name: $name,
            aliases: &[$($alias),*],
            kind: $kind,
            about: $about,
            example: $example,
        };
    )*};
}

const fn text(bytes_max: usize) -> Kind {
    Kind::Text { bytes_max }
}

const fn id() -> Kind {
    Kind::Int { min: 1, max: i64::MAX, clamp: false }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max, clamp: false }
}

/// The bound of S3 on a key, in bytes.
const KEY_BYTES_MAX: usize = 1024;

params! {
    PLAN_ID = "plan_id": id(), "The plan, by its id.", "1";
    BUCKET_NAME = "bucket_name" | "bucket": Kind::Bucket,
        "A bucket's name, by the rules of S3.", "ada-photos";
    LOCATION = "location": Kind::Location, "A location's code, in any case.", "NL";
    /// A customer to act for; in some actions a plan.
    ID = "id": id(), "The customer that an administrator acts for.", "1001";
    S3UID = "s3uid" | "account_id": Kind::Account,
        "An account: its 32 hexadecimal digits, or its number as `get_users` shows it.",
        "5f0c3a1e9b7d4c2688f1e0d3b5a79c41";
    FILENAME = "filename" | "file" | "key": text(KEY_BYTES_MAX), "The key of an object.",
        "docs/readme.md";
    S3_KEY = "s3_key" | "key_type": Kind::Choice(&["secret_key", "access_key"]),
        "Which half of the key pair.", "access_key";
    MAX_KEYS = "max_keys" | "limit": Kind::Int { min: 1, max: 100, clamp: true },
        "Most entries of a page; 100 unless sent.", "100";
    CONTINUATION_TOKEN = "continuation_token": text(4096),
        "`next_continuation_token` of the page before, with the other parameters as they were.",
        "";
    SEARCH = "search": text(KEY_BYTES_MAX),
        "Part of a key, in any case. Every level below `prefix` is searched, at most 10,000 keys \
         for a page: one that ends there is truncated, and its token goes on.", "readme";
    PREFIX = "prefix": text(KEY_BYTES_MAX), "Keys below this; a folder ends with `/`.", "docs/";
    /// Each page is a call to storage, hence the bound.
    PAGE = "page": int(1, 100), "A page by number, for want of `continuation_token`.", "1";
    REASON = "reason": text(1000), "Why; kept in the account's history.", "moved elsewhere";
    EMAIL = "email": text(320), "Accounts of the customer with this address.", "ada@example.com";
    BILLING = "billing": text(32), "Accounts billed this way.", "ledger";
    STORAGE_TYPE = "storage_type": text(32), "Accounts on plans of this type.", "standard";
    PERIOD_FROM = "period_from": Kind::Date,
        "First day of the period, UTC; the month's first unless sent.", "2026-03-01";
    PERIOD_TO = "period_to": Kind::Date,
        "Last day of the period, UTC; the month's last unless sent.", "2026-03-31";
    /// Of rankings; metering takes no more.
    OFFSET = "offset": int(0, 1_000_000), "Rows to skip.", "0";
    /// Of history; accounts takes no more.
    HISTORY_OFFSET = "offset": int(0, 100_000), "Rows to skip.", "0";
    LIMIT = "limit": Kind::Int { min: 1, max: 1000, clamp: true },
        "Most rows; 50 unless sent.", "50";
    /// The field to sort by.
    ORDER = "order": Kind::Choice(&["total_traffic_period_gb", "total_storage_peak_gb"]),
        "The figure to sort by.", "total_traffic_period_gb";
    /// The direction to sort in.
    ORDER_BY = "order_by": Kind::Choice(&["ASC", "DESC"]), "The direction to sort in.", "DESC";
    IDEMPOTENCY_KEY = "idempotency_key": text(64),
        "Names the request: sent again with the same key, it gets its first answer.", "";
    KEY = "key": text(512), "An API key.", "";
    TTL = "ttl": int(1, i64::MAX / 1_000_000_000),
        "How long the token lives, in seconds; 10800 unless sent.", "10800";
    FIX_IP = "fix_ip": int(0, 1), "1 ties the token to the caller's address.", "0";
}

impl Param {
    /// The value sent, by its canonical name before any alias.
    pub(crate) fn of<'a>(&self, params: &'a Params) -> Option<&'a str> {
        params.get(self.name).or_else(|| self.aliases.iter().find_map(|alias| params.get(alias)))
    }

    /// Says why a value is not good.
    pub(crate) fn fault(&self, value: &str) -> Option<String> {
        match self.kind {
            Kind::Text { bytes_max } => {
                (value.len() > bytes_max).then(|| format!("is longer than {bytes_max} bytes"))
            }
            Kind::Int { min, max, clamp } => match parse_int(value) {
                Some(number) if number >= min && (clamp || number <= max) => None,
                _ if max == i64::MAX || clamp => Some(format!("is not a whole number from {min}")),
                _ => Some(format!("is not a whole number from {min} to {max}")),
            },
            Kind::Date => parse_day(value).is_none().then(|| "is not a date (Y-m-d)".to_owned()),
            Kind::Account => None,
            Kind::Bucket => BucketName::new(value).err().map(|fault| fault.why),
            Kind::Location => {
                check_location_code(&value.to_ascii_uppercase()).err().map(|fault| fault.why)
            }
            Kind::Choice(choices) => choose(choices, value)
                .is_none()
                .then(|| format!("is not one of {}", choices.join(", "))),
        }
    }

    /// The number sent, within the parameter's bounds.
    pub(crate) fn int(&self, params: &Params) -> Option<i64> {
        let number = parse_int(self.of(params)?)?;
        match self.kind {
            Kind::Int { max, .. } => Some(number.min(max)),
            _ => Some(number),
        }
    }

    /// The choice sent, in the letters of its definition.
    pub(crate) fn choice(&self, params: &Params) -> Option<&'static str> {
        match self.kind {
            Kind::Choice(choices) => choose(choices, self.of(params)?),
            _ => None,
        }
    }
}

fn choose(choices: &[&'static str], value: &str) -> Option<&'static str> {
    choices.iter().copied().find(|choice| choice.eq_ignore_ascii_case(value))
}

/// Reads a whole number; blanks around it do no harm.
fn parse_int(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// Reads the customer in `id`.
pub(crate) fn customer(params: &Params) -> Option<Result<CustomerId, String>> {
    let value = ID.of(params)?;
    Some(match ID.fault(value) {
        Some(why) => Err(why),
        None => Ok(CustomerId(ID.int(params).unwrap_or_default())),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::legacy::request::parse;

    async fn params(query: &str) -> Params {
        parse(Some(query), None, Bytes::new()).await.unwrap()
    }

    #[tokio::test]
    async fn the_canonical_name_wins_over_its_aliases() {
        for (query, value) in [
            ("bucket=b&bucket_name=a", "a"),
            ("bucket_name=a&bucket=b", "a"),
            ("bucket=b", "b"),
            ("bucket_name=&bucket=b", "b"),
        ] {
            assert_eq!(BUCKET_NAME.of(&params(query).await), Some(value), "{query}");
        }
        assert_eq!(FILENAME.of(&params("key=k").await), Some("k"));
        assert_eq!(FILENAME.of(&params("key=k&file=f").await), Some("f"));
        assert_eq!(S3_KEY.choice(&params("key_type=Secret_Key").await), Some("secret_key"));
        assert_eq!(S3UID.of(&params("account_id=12").await), Some("12"));
        assert_eq!(MAX_KEYS.int(&params("limit=5000").await), Some(100));
    }

    #[test]
    fn faults_are_said_in_words() {
        for (param, value, fault) in [
            (&PLAN_ID, "1", None),
            (&PLAN_ID, " 1 ", None),
            (&PLAN_ID, "0", Some("is not a whole number from 1")),
            (&PLAN_ID, "1.5", Some("is not a whole number from 1")),
            (&PLAN_ID, "99999999999999999999", Some("is not a whole number from 1")),
            (&MAX_KEYS, "0", Some("is not a whole number from 1")),
            (&MAX_KEYS, "101", None),
            (&PAGE, "101", Some("is not a whole number from 1 to 100")),
            (&OFFSET, "-1", Some("is not a whole number from 0 to 1000000")),
            (&PERIOD_FROM, "2026-02-28", None),
            (&PERIOD_FROM, "2026-02-29", Some("is not a date (Y-m-d)")),
            (&LOCATION, "nl", None),
            (&ORDER_BY, "desc", None),
            (&ORDER_BY, "down", Some("is not one of ASC, DESC")),
            (&S3UID, "anything", None),
        ] {
            assert_eq!(param.fault(value).as_deref(), fault, "{} {value}", param.name);
        }
        assert!(BUCKET_NAME.fault("Not A Bucket").is_some());
        assert!(LOCATION.fault("n l").is_some());
        assert!(REASON.fault(&"x".repeat(1001)).is_some());
    }
}
