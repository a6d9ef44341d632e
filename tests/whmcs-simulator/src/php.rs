//! PHP's `serialize`, as far as arrays of texts go: custom fields travel so, in base64.

use std::collections::BTreeMap;

/// Writes an array. PHP makes numbers of keys that look like some, and counts bytes.
#[must_use]
pub fn serialize(array: &BTreeMap<String, String>) -> String {
    let mut text = format!("a:{}:{{", array.len());
    for (key, value) in array {
        match key.parse::<i64>() {
            Ok(number) if number.to_string() == *key => text.push_str(&format!("i:{number};")),
            _ => text.push_str(&format!("s:{}:\"{key}\";", key.len())),
        }
        text.push_str(&format!("s:{}:\"{value}\";", value.len()));
    }
    text.push('}');
    text
}

/// Reads an array of texts and whole numbers; `None` if it is none.
#[must_use]
pub fn unserialize(text: &str) -> Option<BTreeMap<String, String>> {
    let rest = text.strip_prefix("a:")?;
    let (count, mut rest) = rest.split_once(":{")?;
    let mut array = BTreeMap::new();
    for _ in 0..count.parse::<u32>().ok()? {
        let (key, after_key) = scalar(rest)?;
        let (value, after_value) = scalar(after_key)?;
        array.insert(key, value);
        rest = after_value;
    }
    (rest == "}").then_some(array)
}

fn scalar(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix("i:") {
        let (number, rest) = rest.split_once(';')?;
        return Some((number.parse::<i64>().ok()?.to_string(), rest));
    }
    let (length, rest) = text.strip_prefix("s:")?.split_once(":\"")?;
    let length = length.parse::<usize>().ok()?;
    let value = rest.get(..length)?;
    Some((value.to_owned(), rest.get(length..)?.strip_prefix("\";")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_and_are_written_as_php_writes_them() {
        let array = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        for (pairs, text) in [
            (vec![("1", "Google")], r#"a:1:{i:1;s:6:"Google";}"#),
            (vec![("city", "Köln")], r#"a:1:{s:4:"city";s:5:"Köln";}"#),
            (vec![("01", "a\";b"), ("x", "")], r#"a:2:{s:2:"01";s:4:"a";b";s:1:"x";s:0:"";}"#),
            (vec![], "a:0:{}"),
        ] {
            assert_eq!(serialize(&array(&pairs)), text);
            assert_eq!(unserialize(text), Some(array(&pairs)), "{text}");
        }
        for bad in ["", "a:1:{}", r#"a:1:{i:1;s:7:"Google";}"#, r#"s:1:"a";"#, "a:0:{}x"] {
            assert_eq!(unserialize(bad), None, "{bad}");
        }
    }
}
