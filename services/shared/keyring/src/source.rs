//! Where master keys come from.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use stowage_types::{ExposeSecret, SecretString};

use crate::ring::MasterKey;
use crate::{Error, command, file, text};

/// Longest time a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(5);

/// Where master keys come from. The text is the same everywhere; see `text`.
pub enum Source {
    /// A file, mode 0600. Made with one new key if there is none. The only source that rotation
    /// and retirement write to.
    File(PathBuf),
    /// A text that does not change while the process lives: from the environment.
    Text(SecretString),
    /// A program and its arguments, whose standard output is the text. It runs without a shell,
    /// for 5 s at most.
    Command(Vec<String>),
}

impl fmt::Debug for Source {
    /// Arguments of a command may hold a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text"),
            Self::Command(words) => f.debug_tuple("Command").field(&words.first()).finish(),
        }
    }
}

impl Source {
    /// How it is told to people.
    #[must_use]
    pub fn origin(&self) -> &'static str {
        match self {
            Self::File(_) => "a file",
            Self::Text(_) => "the environment",
            Self::Command(_) => "a command",
        }
    }

    pub(crate) fn read(&self) -> Result<Vec<MasterKey>, Error> {
        match self {
            Self::File(path) => file::read_keys(path),
            Self::Text(secret) => text::parse("STOWAGE_KEYRING", secret.expose_secret()),
            Self::Command(words) => {
                let printed = command::run(words, COMMAND_MAX)?;
                let program = words.first().map_or("", String::as_str);
                text::parse(&format!("the output of {program}"), &printed)
            }
        }
    }
}
