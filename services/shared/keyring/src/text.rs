//! The text of master keys, wherever it is kept: a heading, then one
//! `<version> <64 hex characters> [<RFC 3339 time>]` a line, oldest first. The time is from when
//! on records are sealed under the key; without one, it always was.

use std::fmt::Write as _;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::ring::{KEY_BYTES, MasterKey};
use crate::{Error, VERSIONS_MAX};

/// Most bytes of a text.
pub(crate) const BYTES_MAX: u64 = 64 * 1024;

const HEADING: &str = "# Stowage master keys. Whoever has these can read every sealed secret.";

/// A time for people: the second that it ends in.
pub(crate) fn moment(time: OffsetDateTime) -> String {
    let second = time.truncate_to_second();
    let rounded = if second < time { second + Duration::SECOND } else { second };
    rounded.format(&Rfc3339).unwrap_or_default()
}

/// Reads the text that is at `place`, which is named in errors only.
pub(crate) fn parse(place: &str, text: &str) -> Result<Vec<MasterKey>, Error> {
    let fault = |line, why| Error::Malformed { path: place.to_owned(), line, why };
    let mut keys: Vec<MasterKey> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = parse_line(line).map_err(|why| fault(index + 1, why))?;
        if keys.last().is_some_and(|last| last.version >= key.version) {
            return Err(fault(index + 1, "versions must grow"));
        }
        if keys.len() >= VERSIONS_MAX {
            return Err(fault(index + 1, "too many keys"));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(fault(1, "no key in it")) } else { Ok(keys) }
}

fn parse_line(line: &str) -> Result<MasterKey, &'static str> {
    let mut parts = line.split_ascii_whitespace();
    let (version, key) = (parts.next().unwrap_or_default(), parts.next().ok_or("no version")?);
    let version = version.parse().map_err(|_| "the version is not a number")?;
    let key = parse_key(key).ok_or("the key is not 64 hex characters")?;
    let time = parts.next().map(|text| OffsetDateTime::parse(text, &Rfc3339));
    let usable_time = time.transpose().map_err(|_| "the time is not in RFC 3339")?;
    match parts.next() {
        None => Ok(MasterKey { version, key, usable_time }),
        Some(_) => Err("there is more behind the time"),
    }
}

fn parse_key(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    let digits = text.as_bytes();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(key)
}

/// Writes the text. It never grows beyond its first allocation, which would leave keys behind.
pub(crate) fn render(keys: &[MasterKey]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(128 + keys.len() * 128));
    text.push_str(HEADING);
    text.push('\n');
    for key in keys {
        let _ = write!(text, "{} ", key.version);
        for byte in key.key.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).expect("four bits are a digit"));
            }
        }
        if let Some(time) = key.usable_time.and_then(|time| time.format(&Rfc3339).ok()) {
            text.push(' ');
            text.push_str(&time);
        }
        text.push('\n');
    }
    text
}
