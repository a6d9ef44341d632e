//! Parameters as PHP reads them: `pid[0]=3` and `pid[]=3` are an array, a later value wins.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::answer::Refused;
use crate::cents::Cents;
use crate::php;

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Parameter {
    Scalar(String),
    Array(BTreeMap<String, String>),
}

/// The parameters of a call.
#[derive(Debug, Default)]
pub(crate) struct Form(BTreeMap<String, Parameter>);

impl Form {
    /// Reads form encodings, later ones over earlier ones.
    pub(crate) fn read(encodings: &[&[u8]]) -> Self {
        let mut form = Self::default();
        for encoding in encodings {
            for (name, value) in form_urlencoded::parse(encoding) {
                form.add(&name, value.into_owned());
            }
        }
        form
    }

    fn add(&mut self, name: &str, value: String) {
        let Some((name, key)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) else {
            self.0.insert(name.to_owned(), Parameter::Scalar(value));
            return;
        };
        let entry = self.0.entry(name.to_owned());
        let parameter = entry.or_insert_with(|| Parameter::Array(BTreeMap::new()));
        if !matches!(parameter, Parameter::Array(_)) {
            *parameter = Parameter::Array(BTreeMap::new());
        }
        if let Parameter::Array(array) = parameter {
            let key = if key.is_empty() { array.len().to_string() } else { key.to_owned() };
            array.insert(key, value);
        }
    }

    /// A scalar that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Parameter::Scalar(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A scalar, empty or not.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Parameter::Scalar(text)) => Some(text),
            _ => None,
        }
    }

    /// A number; what is none is 0, as PHP has it.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.text(name).map(|text| text.trim().parse().unwrap_or(0))
    }

    /// An id; 0 if it is not there.
    pub(crate) fn id(&self, name: &str) -> i64 {
        self.number(name).unwrap_or(0)
    }

    /// Whether a switch is on: PHP sends 1 for true and 0 for false.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| !matches!(text, "0" | "false"))
    }

    /// An amount.
    pub(crate) fn amount(&self, name: &str) -> Option<Cents> {
        self.text(name).and_then(Cents::parse)
    }

    /// An array by its keys; a scalar is refused, since 8.6.
    pub(crate) fn array(&self, name: &str) -> Result<BTreeMap<String, String>, Refused> {
        match self.0.get(name) {
            None => Ok(BTreeMap::new()),
            Some(Parameter::Array(array)) => Ok(array.clone()),
            Some(Parameter::Scalar(_)) => {
                Err(Refused::new(format!("Expecting parameter '{name}' to be an array")))
            }
        }
    }

    /// Custom fields or configurable options: `base64(serialize(array))`.
    pub(crate) fn fields(text: &str) -> BTreeMap<String, String> {
        let bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        php::unserialize(&text).unwrap_or_default()
    }

    /// Where a page begins, and how long it is.
    pub(crate) fn page(&self) -> (usize, usize) {
        let of = |name: &str, default: usize| {
            let number = self.number(name).and_then(|number| usize::try_from(number).ok());
            number.unwrap_or(default)
        };
        (of("limitstart", 0), of("limitnum", 25))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_make_arrays_and_later_values_win() {
        let form = Form::read(&[b"a=1&pid%5B0%5D=3", b"a=2&pid[1]=4&m[]=x&m[]=y&n[37]=d&e="]);
        assert_eq!(form.text("a"), Some("2"));
        assert_eq!((form.text("e"), form.given("e")), (None, Some("")));
        let array = |name: &str| form.array(name).unwrap().into_iter().collect::<Vec<_>>();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(array("pid"), [pair("0", "3"), pair("1", "4")]);
        assert_eq!(array("m"), [pair("0", "x"), pair("1", "y")]);
        assert_eq!(array("n"), [pair("37", "d")]);
        let refused = form.array("a").unwrap_err();
        assert_eq!(refused.message(), "Expecting parameter 'a' to be an array");
        assert_eq!(form.page(), (0, 25));
    }
}
