//! `[keyring]`: where the master keys come from, and how they change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use stowage_keyring::{Rules, Source};
use toml::Value;

use super::sections::secret;

/// Longest that a new master key may wait, and an old one be kept: a day.
const WAIT_MAX_MS: u64 = 86_400_000;

/// `[keyring]`. At most one of `file`, `command` and `text`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keyring {
    /// The file of master keys. Default: `keyring` beside the other secrets.
    pub file: Option<PathBuf>,
    /// A program and its arguments whose standard output is the text of such a file; no shell.
    /// In the environment words separated by spaces, or a list as in TOML.
    #[serde(deserialize_with = "words")]
    pub command: Option<Vec<String>>,
    /// The text of such a file itself, from `STOWAGE_KEYRING`.
    #[serde(deserialize_with = "secret")]
    pub text: Option<SecretString>,
    /// From the making of a master key to its first use: longer than every process takes to read
    /// it. Default 10 000.
    pub usable_after_ms: u64,
    /// From the first use of a master key to the retirement of those before: longer than the
    /// longest call. Default 60 000.
    pub retire_after_ms: u64,
}

impl Default for Keyring {
    fn default() -> Self {
        Self {
            file: None,
            command: None,
            text: None,
            usable_after_ms: 10_000,
            retire_after_ms: 60_000,
        }
    }
}

impl Keyring {
    /// Where the master keys come from. `default`: the file if nothing else is set.
    #[must_use]
    pub fn source(&self, default: &Path) -> Source {
        match (&self.text, &self.command, &self.file) {
            (Some(text), _, _) => Source::Text(text.clone()),
            (_, Some(words), _) => Source::Command(words.clone()),
            (_, _, file) => Source::File(file.clone().unwrap_or_else(|| default.to_owned())),
        }
    }

    /// Times of rotation and retirement.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            usable_after: Duration::from_millis(self.usable_after_ms),
            retire_after: Duration::from_millis(self.retire_after_ms),
        }
    }

    pub(super) fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let set = [
            ("STOWAGE_KEYRING", self.text.is_some()),
            ("keyring.command", self.command.is_some()),
            ("keyring.file", self.file.is_some()),
        ];
        let set: Vec<&str> =
            set.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
        if set.len() > 1 {
            faults.push(format!("file: master keys come from one place: {}", set.join(" or ")));
        }
        if self.command.as_ref().is_some_and(Vec::is_empty) {
            faults.push("command: names no program".to_owned());
        }
        for (name, ms) in
            [("usable_after_ms", self.usable_after_ms), ("retire_after_ms", self.retire_after_ms)]
        {
            if ms > WAIT_MAX_MS {
                faults.push(format!("{name}: is more than a day"));
            }
        }
        faults
    }
}

/// A list, or words separated by spaces. A text that is a list in TOML is left to be read as one.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) if !text.trim_start().starts_with('[') => {
            Ok(Some(text.split_whitespace().map(str::to_owned).collect()))
        }
        Value::Array(items) => items
            .into_iter()
            .map(|item| item.try_into().map_err(|_| de::Error::custom("expected texts")))
            .collect::<Result<_, _>>()
            .map(Some),
        _ => Err(de::Error::custom("expected a program and its arguments")),
    }
}
