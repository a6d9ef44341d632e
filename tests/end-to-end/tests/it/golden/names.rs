//! Names for what differs from run to run: tokens, ids, keys, times.
//!
//! A value gets its name when it is first answered, and that name stands for it in every later
//! request and answer: `<s3uid-1>` is the first account that was ordered.

use super::case::Answer;

/// Headers that clients act on, shown where they are sent.
const SHOWN: &[&str] = &["allow", "retry-after"];

/// Fields whose values differ from run to run, and what a value of each is called.
const FIELDS: &[(&str, &str)] = &[
    ("s3uid", "s3uid"),
    ("service_ident", "s3uid"),
    ("access_key", "access-key"),
    ("secret_key", "secret-key"),
    ("token", "token"),
    ("next_continuation_token", "page"),
    ("request_id", "request-id"),
];

/// The values by name, and what they are called in answers.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: Vec<(String, String)>,
    kept_out: Vec<&'static str>,
    /// Of S3, which listens on a port of its own in each run.
    pub(crate) endpoint: String,
}

impl Names {
    pub(crate) fn insert(&mut self, name: &str, value: &str) {
        self.known.push((name.to_owned(), value.to_owned()));
    }

    /// Names for requests only: what they stand for is the same in every run.
    pub(crate) fn keep_out_of_answers<const N: usize>(&mut self, names: [&'static str; N]) {
        self.kept_out.extend(names);
    }

    /// The text with every `<name>` replaced by its value.
    pub(crate) fn filled(&self, text: &str) -> Result<String, String> {
        let mut filled = text.to_owned();
        for (name, value) in &self.known {
            filled = filled.replace(&format!("<{name}>"), value);
        }
        match filled.split_once('<') {
            Some((_, rest)) => {
                let name: String = rest.chars().take_while(|c| *c != '>').collect();
                Err(format!("<{name}> is the name of nothing yet"))
            }
            None => Ok(filled),
        }
    }

    /// Status, headers worth a look and body, one value a line, with names for what differs.
    pub(crate) fn redacted(&mut self, answer: &Answer) -> String {
        let mut text = format!("{}\n", answer.status);
        for name in SHOWN {
            if let Some(value) = answer.header(name) {
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        text.push('\n');
        let lines = pretty(&answer.body);
        // First all names, then all values: a key may stand before the field that names it.
        for line in &lines {
            self.learn(line);
        }
        for line in &lines {
            text.push_str(&self.redacted_line(line));
            text.push('\n');
        }
        text
    }

    fn learn(&mut self, line: &str) {
        let Some((field, value)) = field_of(line) else { return };
        let Some((_, kind)) = FIELDS.iter().find(|(name, _)| *name == field) else { return };
        let Some(text) = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
            return;
        };
        if text.is_empty() || self.known.iter().any(|(_, known)| known == text) {
            return;
        }
        let number = 1 + self.known.iter().filter(|(name, _)| numbered(name, kind)).count();
        self.insert(&format!("{kind}-{number}"), text);
    }

    fn redacted_line(&self, line: &str) -> String {
        let (start, value) = match line.rfind("\": ") {
            Some(at) => line.split_at(at + 3),
            None => line.split_at(line.len() - line.trim_start().len()),
        };
        let (value, comma) = value.strip_suffix(',').map_or((value, ""), |value| (value, ","));
        if start.ends_with("\"token_expire\": ") && value != "null" {
            return format!("{start}\"<seconds>\"{comma}");
        }
        let Some(text) = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
            return line.to_owned();
        };
        format!("{start}\"{}\"{comma}", self.name_of(text))
    }

    fn name_of(&self, text: &str) -> String {
        if is_like(text, "dddd-dd-ddTdd:dd:ddZ") {
            return "<time>".to_owned();
        }
        if is_like(text, "dddd-dd-dd") {
            return "<date>".to_owned();
        }
        let known = self
            .known
            .iter()
            .find(|(name, value)| value == text && !self.kept_out.contains(&name.as_str()));
        match known {
            Some((name, _)) => format!("<{name}>"),
            None => text.replace(&self.endpoint, "<endpoint>"),
        }
    }
}

fn numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Whether a text has a digit wherever the shape has `d`, and is the shape elsewhere.
fn is_like(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// Name and value of a line of pretty JSON.
fn field_of(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().strip_prefix('"')?.split_once("\": ")?;
    Some((name, value.strip_suffix(',').unwrap_or(value)))
}

/// JSON with one value a line: fields in the order they came, numbers digit for digit.
fn pretty(json: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        let is_empty = matches!((c, chars.peek()), ('{', Some('}')) | ('[', Some(']')));
        let line = lines.last_mut().expect("there is a line");
        if in_text {
            line.push(c);
            if c == '\\' {
                line.extend(chars.next());
            }
            in_text = c != '"';
            continue;
        }
        match c {
            '"' => {
                in_text = true;
                line.push(c);
            }
            '{' | '[' if is_empty => {
                line.push(c);
                line.extend(chars.next());
            }
            '{' | '[' | ',' => {
                line.push(c);
                depth += usize::from(c != ',');
                lines.push("  ".repeat(depth));
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                lines.push(format!("{}{c}", "  ".repeat(depth)));
            }
            ':' => line.push_str(": "),
            other => line.push(other),
        }
    }
    lines
}

#[test]
fn what_differs_gets_a_name_and_the_rest_stays() {
    let body = concat!(
        r#"{"key":"K\"1","a":[],"list":[{"s3uid":"u1","at":"2026-03-01T12:00:00Z","n":10.0}],"#,
        r#""secret_key":"K\"1","day":"2026-03-01","x":"see http://h:1/b: \": "}"#
    );
    let answer = format!("HTTP/1.1 405 No\r\nAllow: GET\r\nDate: x\r\n\r\n{body}");
    let answer = Answer::parse(answer.as_bytes()).expect("it is an answer");
    let mut names = Names { endpoint: "http://h:1".to_owned(), ..Names::default() };
    let expected = concat!(
        "405 No\nallow: GET\n\n{\n  \"key\": \"<secret-key-1>\",\n  \"a\": [],\n",
        "  \"list\": [\n    {\n      \"s3uid\": \"<s3uid-1>\",\n      \"at\": \"<time>\",\n",
        "      \"n\": 10.0\n    }\n  ],\n  \"secret_key\": \"<secret-key-1>\",\n",
        "  \"day\": \"<date>\",\n"
    );
    assert!(names.redacted(&answer).starts_with(expected), "{}", names.redacted(&answer));
    assert_eq!(names.filled("a=<s3uid-1>"), Ok("a=u1".to_owned()));
    assert!(names.filled("a=<s3uid-2>").is_err());
}
