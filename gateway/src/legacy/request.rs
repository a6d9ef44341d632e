//! The one parser of the facade: any query string and any body become parameters or a refusal.
//!
//! Nothing here panics, and all work is bounded by the length of what came in: bodies by the
//! transport, parameters by [`PARAMETERS_MAX`].

use std::convert::Infallible;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Most parameters of one request, as many as PHP takes.
const PARAMETERS_MAX: usize = 1000;

/// Why a request could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The body's type is none of those we read.
    UnknownType,
    /// The body is not what its type says; in words for the caller.
    Malformed(String),
}

/// The parameters of a request, later ones over earlier ones.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    in_url: usize,
}

/// Names only: a value may be a token or a key.
impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

impl Params {
    /// The last value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().rev().find(|(n, _)| n == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// Whether the query string names the parameter.
    pub(crate) fn is_in_url(&self, name: &str) -> bool {
        self.pairs.iter().take(self.in_url).any(|(n, _)| n == name)
    }

    fn push(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        if self.pairs.len() >= PARAMETERS_MAX {
            return Err(Refusal::Malformed(format!("more than {PARAMETERS_MAX} parameters")));
        }
        if let Some(name) = plain_name(name) {
            self.pairs.push((name.to_owned(), value));
        }
        Ok(())
    }

    fn push_encoded(&mut self, text: &[u8]) -> Result<(), Refusal> {
        for (name, value) in form_urlencoded::parse(text) {
            self.push(&name, value.into_owned())?;
        }
        Ok(())
    }

    fn push_json(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let Fields(fields) = serde_json::from_slice(body).map_err(|error| {
            let what = if error.is_data() { "a JSON object" } else { "JSON" };
            Refusal::Malformed(format!("the body is not {what}"))
        })?;
        for (name, value) in fields {
            if name == "params" && value.get().starts_with('{') {
                let Fields(inner) = read_json(&value)?;
                for (name, value) in inner {
                    self.push_value(&name, &value)?;
                }
            } else {
                self.push_value(&name, &value)?;
            }
        }
        Ok(())
    }

    /// A number is taken as it is written, so that it means what the same text in quotes means.
    fn push_value(&mut self, name: &str, value: &RawValue) -> Result<(), Refusal> {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'"') => self.push(name, read_json(value)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = read_json(value)?;
                items
                    .into_iter()
                    .filter(|item| !item.get().starts_with(['[', '{']))
                    .try_for_each(|item| self.push_value(name, item))
            }
            // As PHP's http_build_query writes them.
            Some(b't') => self.push(name, "1".to_owned()),
            Some(b'f') => self.push(name, "0".to_owned()),
            Some(b'n' | b'{') | None => Ok(()),
            Some(_) => self.push(name, text.to_owned()),
        }
    }
}

fn read_json<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, Refusal> {
    // What is left to go wrong is text that is half a character, `"\ud800"`.
    serde_json::from_str(value.get())
        .map_err(|_| Refusal::Malformed("the body is not JSON".to_owned()))
}

/// The fields of a JSON object in the order in which they stand there, each as it is written.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// The parameter that a name with PHP's brackets means: `params[plan_id]` is `plan_id`, `ids[]` and
/// `ids[3]` are `ids`. Names that nest deeper mean nothing to us.
fn plain_name(name: &str) -> Option<&str> {
    let Some((base, rest)) = name.split_once('[') else { return Some(name) };
    let (first, deeper) = rest.split_once(']')?;
    let is_index = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = if base == "params" && !first.is_empty() {
        let index = deeper.strip_prefix('[').and_then(|index| index.strip_suffix(']'));
        (deeper.is_empty() || index.is_some_and(is_index)).then_some(first)
    } else {
        (deeper.is_empty() && is_index(first)).then_some(base)
    };
    plain.filter(|plain| !plain.is_empty())
}

/// Reads the parameters of a request.
pub(crate) async fn parse(
    query: Option<&str>,
    content_type: Option<&[u8]>,
    body: Bytes,
) -> Result<Params, Refusal> {
    let mut params = Params::default();
    params.push_encoded(query.unwrap_or_default().as_bytes())?;
    params.in_url = params.pairs.len();
    if body.is_empty() {
        return Ok(params);
    }
    let content_type = String::from_utf8_lossy(content_type.unwrap_or_default());
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => params.push_encoded(&body)?,
        "multipart/form-data" => push_multipart(&mut params, &content_type, body).await?,
        "application/json" | "text/json" => params.push_json(&body)?,
        // Some clients name no type; an object cannot be mistaken for a form.
        "" if body.trim_ascii_start().starts_with(b"{") => params.push_json(&body)?,
        "" => params.push_encoded(&body)?,
        _ => return Err(Refusal::UnknownType),
    }
    Ok(params)
}

async fn push_multipart(
    params: &mut Params,
    content_type: &str,
    body: Bytes,
) -> Result<(), Refusal> {
    let malformed = |_| Refusal::Malformed("the body is not multipart/form-data".to_owned());
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let stream = futures_util::stream::iter([Ok::<_, Infallible>(body)]);
    let mut parts = multer::Multipart::new(stream, boundary);
    while let Some(part) = parts.next_field().await.map_err(malformed)? {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        let value = part.bytes().await.map_err(malformed)?;
        params.push(&name, String::from_utf8_lossy(&value).into_owned())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(query: &str, content_type: &str, body: &[u8]) -> Result<Params, Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let content_type = (!content_type.is_empty()).then_some(content_type.as_bytes());
        runtime.block_on(parse(Some(query), content_type, Bytes::copy_from_slice(body)))
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn the_same_parameter_comes_in_every_shape() {
        let multipart =
            "--b\r\nContent-Disposition: form-data; name=\"plan_id\"\r\n\r\n7\r\n--b--\r\n";
        for (query, content_type, body) in [
            ("plan_id=7", "", ""),
            ("plan_id=3&plan_id=7", "", ""),
            ("params[plan_id]=7", "", ""),
            ("params%5Bplan_id%5D=7", "", ""),
            ("plan_id[]=3&plan_id[]=7", "", ""),
            ("plan_id[0]=3&plan_id[1]=7", "", ""),
            ("params[plan_id][]=7", "", ""),
            ("plan_id=3", FORM, "plan_id=7"),
            ("", "Application/X-WWW-Form-Urlencoded; charset=UTF-8", "plan_id=7"),
            ("", "", "plan_id=7"),
            ("", "", " {\"plan_id\":7}"),
            ("plan_id=3", "application/json", "{\"plan_id\":7}"),
            ("", "application/json;charset=utf-8", "{\"plan_id\":\"7\"}"),
            ("", "application/json", "{\"params\":{\"plan_id\":7}}"),
            ("", "application/json", "{\"plan_id\":[3,7]}"),
            ("", "application/json", "{\"plan_id\":3,\"plan_id\":7,\"x\":{\"y\":1},\"z\":null}"),
            ("plan_id=3", "multipart/form-data; boundary=b", multipart),
        ] {
            let params = read(query, content_type, body.as_bytes()).unwrap();
            assert_eq!(params.get("plan_id"), Some("7"), "{query} {content_type} {body}");
        }
    }

    #[test]
    fn json_keeps_its_order_and_its_numbers_as_they_are_written() {
        for (body, expected) in [
            (r#"{"filename":1.10}"#, "1.10"),
            (
                r#"{"filename":12345678901234567890123456789012}"#,
                "12345678901234567890123456789012",
            ),
            (r#"{"filename":-0}"#, "-0"),
            (r#"{"filename":true}"#, "1"),
            (r#"{"filename":"\u00e9"}"#, "é"),
            (r#"{"filename":["a","b"]}"#, "b"),
            (r#"{"params":{"filename":"in"},"filename":"out"}"#, "out"),
            (r#"{"filename":"out","params":{"filename":"in"}}"#, "in"),
            (r#"{"filename":"first","filename":"last"}"#, "last"),
        ] {
            let params = read("", "application/json", body.as_bytes()).unwrap();
            assert_eq!(params.get("filename"), Some(expected), "{body}");
        }
        let half = read("", "application/json", br#"{"filename":"\ud800"}"#);
        assert_eq!(half, Err(Refusal::Malformed("the body is not JSON".to_owned())));
        // However deep, it is passed over and not descended into.
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(read("", "application/json", deep.as_bytes()).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let malformed = |text: &str| Err(Refusal::Malformed(text.to_owned()));
        for (content_type, body, answer) in [
            ("text/plain", "a=b", Err(Refusal::UnknownType)),
            ("application/octet-stream", "\0", Err(Refusal::UnknownType)),
            ("application/json", "{", malformed("the body is not JSON")),
            ("application/json", "[1]", malformed("the body is not a JSON object")),
            ("multipart/form-data", "x", malformed("the body is not multipart/form-data")),
        ] {
            assert_eq!(read("", content_type, body.as_bytes()), answer, "{content_type} {body}");
        }
        assert!(read("", "text/plain", b"").is_ok());
        let many = "a=1&".repeat(PARAMETERS_MAX + 1);
        assert_eq!(read(&many, "", b""), malformed("more than 1000 parameters"));
    }

    #[test]
    fn an_empty_value_is_no_value_and_the_place_of_a_token_is_known() {
        let params = read("token=a&plan_id=1", FORM, b"plan_id=&key=b").unwrap();
        assert_eq!(params.get("plan_id"), None);
        assert!(params.is_in_url("token") && !params.is_in_url("key"));
        assert_eq!(format!("{params:?}"), r#"["token", "plan_id", "plan_id", "key"]"#);
    }

    #[test]
    fn bytes_that_are_no_text_are_read_as_well_as_can_be() {
        let params = read("a=%ff%fe&b=%zz&c", FORM, b"d=\xff").unwrap();
        assert_eq!(params.get("a"), Some("\u{fffd}\u{fffd}"));
        assert_eq!(params.get("b"), Some("%zz"));
        assert_eq!(params.get("c"), None);
        assert_eq!(params.get("d"), Some("\u{fffd}"));
    }

    #[test]
    fn brackets_mean_what_php_makes_of_them() {
        for (name, plain) in [
            ("a", Some("a")),
            ("a[]", Some("a")),
            ("a[12]", Some("a")),
            ("a[b]", None),
            ("params[a]", Some("a")),
            ("params[a][]", Some("a")),
            ("params[a][b]", None),
            ("params[]", Some("params")),
            ("[", None),
            ("[]", None),
            ("a[", None),
            ("params[a", None),
        ] {
            assert_eq!(plain_name(name), plain, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_any_type_are_answered(
            query in ".{0,200}",
            content_type in prop_oneof![
                Just(FORM.to_owned()),
                Just("application/json".to_owned()),
                Just("multipart/form-data; boundary=b".to_owned()),
                Just(String::new()),
                ".{0,60}",
            ],
            body in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let _ = read(&query, &content_type, &body);
        }

        #[test]
        fn any_multipart_is_answered(head in "[ -~\r\n]{0,80}", body in "[ -~\r\n]{0,80}") {
            let text = format!("--b\r\n{head}\r\n\r\n{body}\r\n--b--\r\n");
            let _ = read("", "multipart/form-data; boundary=b", text.as_bytes());
        }

        #[test]
        fn any_json_is_answered(name in "[a-z\\[\\]]{0,10}", number in any::<f64>()) {
            let text = format!("{{{name:?}:{number:?},\"params\":[{number:?},{{}}]}}");
            let _ = read("", "application/json", text.as_bytes());
        }
    }
}
