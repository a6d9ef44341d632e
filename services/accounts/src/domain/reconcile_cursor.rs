//! Where a round of reconciliation stands, as text for page tokens.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Where a round stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// The accounts of a location's engine: its place among the locations, the page, and the
    /// account before it.
    Engine { location: usize, page: String, after: String },
    /// Accounts with their subscriptions: those after this id.
    Accounts { after: i64 },
    /// Open subscriptions.
    Subscriptions { page: String },
    /// What is of no account.
    Rest,
}

impl Default for Cursor {
    fn default() -> Self {
        Self::Engine { location: 0, page: String::new(), after: String::new() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine { location, page, after } => write!(f, "engine/{location}/{page}/{after}"),
            Self::Accounts { after } => write!(f, "accounts/{after}"),
            Self::Subscriptions { page } => write!(f, "subscriptions/{page}"),
            Self::Rest => f.write_str("rest/"),
        }
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (part, rest) = text.split_once('/').ok_or(Error::PageTokenInvalid)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| Error::PageTokenInvalid);
        match part {
            "engine" => {
                let mut parts = rest.splitn(3, '/').map(str::to_owned);
                let mut next = || parts.next().ok_or(Error::PageTokenInvalid);
                let (location, page, after) = (next()?, next()?, next()?);
                let location = location.parse().map_err(|_| Error::PageTokenInvalid)?;
                Ok(Self::Engine { location, page, after })
            }
            "accounts" => Ok(Self::Accounts { after: number(rest)? }),
            "subscriptions" => Ok(Self::Subscriptions { page: rest.to_owned() }),
            "rest" => Ok(Self::Rest),
            _ => Err(Error::PageTokenInvalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_goes_on_where_it_was() {
        for cursor in [
            Cursor::default(),
            Cursor::Engine { location: 2, page: "00ff".to_owned(), after: "0".repeat(32) },
            Cursor::Accounts { after: 77 },
            Cursor::Subscriptions { page: String::new() },
            Cursor::Subscriptions { page: "00ff".to_owned() },
            Cursor::Rest,
        ] {
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        for bad in ["", "engine", "engine/1", "engine/x//", "accounts/x", "nothing/"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
