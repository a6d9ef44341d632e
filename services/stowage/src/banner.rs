//! What a newcomer reads when the server is up: where it listens, where the administrator's token
//! is, and three commands that work when they are pasted into another terminal, whatever folder
//! that one is in.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// What the banner tells.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Where HTTP and gRPC are.
    pub gateway: SocketAddr,
    /// Where the embedded engine's S3 is, if there is one.
    pub s3: Option<SocketAddr>,
    /// The data folder.
    pub data_dir: &'a Path,
    /// The file of the administrator's token.
    pub token_file: &'a Path,
    /// This program.
    pub program: &'a Path,
    /// How long the start took, in milliseconds.
    pub ready_ms: u128,
}

/// Writes the banner.
#[must_use]
pub fn banner(facts: &Facts<'_>) -> String {
    let Facts { gateway, s3, ready_ms, .. } = facts;
    let mut text = String::new();
    let mut line = |content: &str| {
        text.push_str(content);
        text.push('\n');
    };
    line(&format!("Stowage is up ({ready_ms} ms)."));
    line(&format!("  HTTP API, gRPC, grpc-web  http://{gateway}"));
    if let Some(s3) = s3 {
        line(&format!("  S3 endpoint               http://{s3}"));
    }
    line(&format!("  data folder               {}", facts.data_dir.display()));
    line(&format!("  administrator's token     {}", facts.token_file.display()));
    line("");
    line("Paste these into another terminal: make a customer, log in as him, list the plans.");
    line("");
    for command in commands(facts) {
        line(&command);
    }
    line("");
    line("Ctrl-C stops it.");
    text
}

/// The three commands. They need a POSIX shell, curl and sed, nothing more. The time is in the mail
/// address so that they work again after the next start, where the first customer is still there.
fn commands(facts: &Facts<'_>) -> [String; 3] {
    let gateway = facts.gateway;
    let secrets = facts.token_file.parent().unwrap_or(facts.data_dir);
    let variable =
        if secrets == facts.data_dir { "STOWAGE_DATA_DIR" } else { "STOWAGE_SECRETS_DIR" };
    let folder = quoted(&secrets.to_string_lossy());
    let program = quoted(&facts.program.to_string_lossy());
    let pick = |field: &str| format!(r#"sed -n 's/.*"{field}": *"\([^"]*\)".*/\1/p'"#);
    let mut create = String::from("KEY=$(");
    let _ = write!(
        create,
        "STOWAGE_ADDR={gateway} {variable}={folder} {program} admin customer create \
         --email you-$(date +%s)@example.com --currency EUR --output json | {}); echo \"$KEY\"",
        pick("api_key")
    );
    let login = format!(
        "TOKEN=$(curl -s http://{gateway}/auth.php -d action=login -d key=\"$KEY\" | {}); \
         echo \"$TOKEN\"",
        pick("token")
    );
    let plans = format!("curl -s http://{gateway}/s3/list_plans -d token=\"$TOKEN\"");
    [create, login, plans]
}

/// Quotes a word for the shell where it needs it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        for (word, shown) in [
            ("/srv/stowage-data", "/srv/stowage-data"),
            ("/srv/my data", "'/srv/my data'"),
            ("/srv/it's", r"'/srv/it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn the_banner_says_where_everything_is() {
        let facts = Facts {
            gateway: ([127, 0, 0, 1], 8080).into(),
            s3: Some(([127, 0, 0, 1], 9000).into()),
            data_dir: Path::new("/srv/data"),
            token_file: Path::new("/srv/data/admin.token"),
            program: Path::new("/usr/bin/stowage"),
            ready_ms: 12,
        };
        let text = banner(&facts);
        for part in ["http://127.0.0.1:8080", "http://127.0.0.1:9000", "/srv/data/admin.token"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(commands(&facts).len(), 3);
    }
}
