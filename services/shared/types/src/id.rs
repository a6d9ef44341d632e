//! Identifiers. Integers are what the legacy facade shows; UUIDs are ours alone.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Clock, Malformed, Random};

/// Declares an integer identifier that cannot be mistaken for another.
macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                match text.parse() {
                    Ok(id) if id > 0 => Ok(Self(id)),
                    _ => Err(Malformed::new("is not a positive number")),
                }
            }
        }
    };
}

integer_id!(
    /// A customer: who is billed. Positive.
    CustomerId
);
integer_id!(
    /// A plan of the catalogue. Positive.
    PlanId
);

/// The public name of an S3 account: 32 lower-case hex characters, unguessable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct S3uid(String);

impl S3uid {
    /// Takes a text that is one already.
    ///
    /// # Errors
    /// `Malformed` if it is not 32 lower-case hex characters.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let good = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Malformed::new("is not an s3uid (32 lower-case hex characters)"))
        }
    }

    /// Makes a new one from 128 random bits.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0_u8; 16];
        random.fill(&mut bytes);
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for S3uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for S3uid {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::parse(&text)
    }
}

impl From<S3uid> for String {
    fn from(uid: S3uid) -> Self {
        uid.0
    }
}

/// Makes a UUIDv7: sorts by the clock's time, unguessable in the rest.
pub fn new_id(clock: &dyn Clock, random: &dyn Random) -> Uuid {
    let mut bytes = [0_u8; 10];
    random.fill(&mut bytes);
    let since_1970 = clock.now() - OffsetDateTime::UNIX_EPOCH;
    let millis = u64::try_from(since_1970.whole_milliseconds()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SystemClock, SystemRandom};

    #[test]
    fn an_s3uid_parses_back_and_nothing_else_does() {
        let made = S3uid::generate(&SystemRandom);
        assert_eq!(S3uid::parse(made.as_str()), Ok(made));
        let upper = "A".repeat(32);
        for bad in ["", "12", "zz", "../../../../../../../../../../aa", upper.as_str()] {
            assert!(S3uid::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn new_ids_are_version_7_and_differ() {
        let (a, b) = (new_id(&SystemClock, &SystemRandom), new_id(&SystemClock, &SystemRandom));
        assert_eq!(a.get_version_num(), 7);
        assert_ne!(a, b);
    }

    #[test]
    fn integer_ids_are_positive() {
        assert_eq!("7".parse(), Ok(PlanId(7)));
        for bad in ["0", "-1", "", "1.0", "9223372036854775808"] {
            assert!(bad.parse::<CustomerId>().is_err(), "{bad}");
        }
    }
}
