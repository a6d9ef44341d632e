//! Where a round of reconciliation stands, as text for page tokens.

use std::fmt;
use std::str::FromStr;

/// Where a round stands. Installations are named by their place among the provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Services of an installation, and subscriptions of the same ids: those behind this id.
    Services { place: usize, after: i64 },
    /// Orders whose ids are not known: those behind this key.
    Orders { after: String },
    /// Bills that did not become invoices: those behind this key.
    Bills { after: String },
    /// Invoices of an installation: those behind this id.
    Invoices { place: usize, after: i64 },
    /// Links of an installation: those behind this customer.
    Links { place: usize, after: i64 },
    /// The books of an installation, from where the provider says.
    Books { place: usize, from: String },
}

impl Default for Cursor {
    fn default() -> Self {
        Self::Services { place: 0, after: 0 }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Services { place, after } => write!(f, "services/{place}/{after}"),
            Self::Orders { after } => write!(f, "orders/0/{after}"),
            Self::Bills { after } => write!(f, "bills/0/{after}"),
            Self::Invoices { place, after } => write!(f, "invoices/{place}/{after}"),
            Self::Links { place, after } => write!(f, "links/{place}/{after}"),
            Self::Books { place, from } => write!(f, "books/{place}/{from}"),
        }
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or(NoCursor);
        let (part, place, rest) = (next()?, next()?, next()?);
        let place = place.parse().map_err(|_| NoCursor)?;
        let after = || rest.parse().map_err(|_| NoCursor);
        match part {
            "services" => Ok(Self::Services { place, after: after()? }),
            "orders" => Ok(Self::Orders { after: rest.to_owned() }),
            "bills" => Ok(Self::Bills { after: rest.to_owned() }),
            "invoices" => Ok(Self::Invoices { place, after: after()? }),
            "links" => Ok(Self::Links { place, after: after()? }),
            "books" => Ok(Self::Books { place, from: rest.to_owned() }),
            _ => Err(NoCursor),
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
            Cursor::Services { place: 2, after: 77 },
            Cursor::Orders { after: "a/b".to_owned() },
            Cursor::Bills { after: String::new() },
            Cursor::Invoices { place: 0, after: 7 },
            Cursor::Links { place: 1, after: 1001 },
            Cursor::Books { place: 0, from: "entries:credit/B/1".to_owned() },
        ] {
            assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }
        for bad in ["", "services", "services/1", "services/x/1", "links/0/x", "nothing/0/0"] {
            assert_eq!(bad.parse::<Cursor>(), Err(NoCursor), "{bad}");
        }
    }
}
