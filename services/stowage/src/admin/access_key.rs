//! `stowage admin key …`.

use clap::Subcommand;
use serde::Serialize;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::accounts::{
    AccessKey, ListAccessKeysRequest, RevokeAccessKeyRequest, RotateAccessKeyRequest,
};

use super::account::Which;
use super::client::Flags;
use super::output::{self, Row};
use super::{Error, Session};

const FLAGS: Flags = &[
    ("name", "ACCOUNT"),
    ("parent", "ACCOUNT"),
    ("overlap", "--overlap-hours"),
    ("access_key", "ACCESS_KEY"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the key pairs of an account that work, without their secrets
    List(Which),
    /// Make a new key pair, whose secret is shown this once; the old one is revoked by itself when
    /// the overlap is over
    Rotate {
        #[command(flatten)]
        which: Which,
        /// How long the old pair goes on beside the new one [default: the server's setting, 48]
        #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(0..=720))]
        overlap_hours: Option<u32>,
    },
    /// Revoke a key pair now
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Id of the pair, as `list` shows it
        access_key: String,
    },
}

#[derive(Serialize)]
struct KeyRow {
    access_key: String,
    create_time: Option<String>,
    revoke_time: Option<String>,
    last_use_time: Option<String>,
}

/// A new pair, the only time its secret is shown here.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    key: KeyRow,
    secret_key: String,
}

impl From<AccessKey> for KeyRow {
    fn from(key: AccessKey) -> Self {
        Self {
            access_key: key.access_key,
            create_time: output::time(key.create_time),
            revoke_time: output::time(key.revoke_time),
            last_use_time: output::time(key.last_use_time),
        }
    }
}

impl Row for KeyRow {
    const COLUMNS: &'static [&'static str] = &["ACCESS KEY", "CREATED", "LAST USED", "REVOKED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.access_key.clone(),
            self.create_time.clone().unwrap_or_default(),
            self.last_use_time.clone().unwrap_or_default(),
            self.revoke_time.clone().unwrap_or_default(),
        ]
    }
}

impl Row for Made {
    const COLUMNS: &'static [&'static str] = &["ACCESS KEY", "SECRET KEY"];

    fn cells(&self) -> Vec<String> {
        vec![self.key.access_key.clone(), self.secret_key.clone()]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let explain = |status| session.client.explain(&status, FLAGS);
    match command {
        Command::List(which) => {
            let mut accounts = AccountServiceClient::new(session.client.api());
            let request = ListAccessKeysRequest {
                parent: which.name(),
                with_secrets: false,
                with_usage: true,
            };
            let keys = accounts.list_access_keys(request).await.map_err(explain)?.into_inner();
            let rows: Vec<KeyRow> = keys.access_keys.into_iter().map(Into::into).collect();
            output::list(session.output, &rows)
        }
        Command::Rotate { which, overlap_hours } => {
            let name = which.name();
            let overlap = overlap_hours
                .map(|hours| prost_types::Duration { seconds: i64::from(hours) * 3600, nanos: 0 });
            let rotate = async |api, request_id| {
                let request = RotateAccessKeyRequest { name: name.clone(), overlap, request_id };
                AccountServiceClient::new(api).rotate_access_key(request).await
            };
            let key = session.client.change(rotate).await.map_err(explain)?;
            let secret_key = key.secret_key.clone();
            output::one(session.output, &Made { key: key.into(), secret_key })
        }
        Command::Revoke { which, access_key } => {
            let name = which.name();
            let revoke = async |api, request_id| {
                let (name, access_key) = (name.clone(), access_key.clone());
                let request = RevokeAccessKeyRequest { name, access_key, request_id };
                AccountServiceClient::new(api).revoke_access_key(request).await
            };
            let key = session.client.change(revoke).await.map_err(explain)?;
            output::one(session.output, &KeyRow::from(key))
        }
    }
}
