//! JSON as the facade answers it: fields in the order they were written, and numbers exactly as
//! their digits say.
//!
//! `serde_json::Value` was rejected for answers: it sorts fields and passes decimals through `f64`.
//! Amounts and sizes never touch a float here.

use std::borrow::Cow;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Int(i64),
    /// Digits that are a JSON number already.
    Number(String),
    /// A text that is JSON already.
    Raw(String),
    Bool(bool),
    Text(Cow<'static, str>),
    List(Vec<Json>),
    Object(Object),
}

/// An object; fields keep their order. Writing a field twice is a mistake of the writer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Object(Vec<(Cow<'static, str>, Json)>);

impl Object {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(8))
    }

    /// Adds a field at the end.
    pub(crate) fn with(
        mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Json>,
    ) -> Self {
        self.0.push((key.into(), value.into()));
        self
    }

    /// Adds a field if there is a value for it.
    pub(crate) fn maybe(self, key: &'static str, value: Option<impl Into<Json>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds all fields of another object.
    pub(crate) fn extend(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The text of the object.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (key, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_text(key, out);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }
}

impl Json {
    /// The text of the value.
    pub(crate) fn to_text(&self) -> String {
        let mut out = Vec::with_capacity(512);
        self.write(&mut out);
        String::from_utf8(out).expect("only texts and ASCII were written")
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Number(text) | Self::Raw(text) => out.extend_from_slice(text.as_bytes()),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(object) => object.write(out),
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[clean_from..at]);
        clean_from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&text.as_bytes()[clean_from..]);
    out.push(b'"');
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Json {
    fn from(fact: bool) -> Self {
        Self::Bool(fact)
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&'static str> for Json {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_keep_their_order_and_numbers_their_digits() {
        let object = Object::new()
            .with("z", 1)
            .with("a", Json::Number("10.0".into()))
            .with("list", vec![Json::Null, true.into(), "x\"y\u{1}".into()])
            .maybe("absent", None::<i64>)
            .with("null", None::<i64>);
        let text = String::from_utf8(object.to_bytes()).unwrap();
        assert_eq!(text, r#"{"z":1,"a":10.0,"list":[null,true,"x\"y\u0001"],"null":null}"#);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(key in ".*", value in ".*") {
            let bytes = Object::new().with(key.clone(), value.clone()).to_bytes();
            let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(read[&key].as_str(), Some(value.as_str()));
        }
    }
}
