//! `stowage admin object …`.

use clap::Subcommand;
use serde::Serialize;
use stowage_proto::storage as pb;
use stowage_proto::storage::object_service_client::ObjectServiceClient;

use super::bucket::{Named, s3uid_of};
use super::client::Flags;
use super::output::{self, Row};
use super::{Error, Session};

const FLAGS: Flags = &[("parent", "ACCOUNT"), ("key", "KEY"), ("valid_seconds", "--valid")];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sign a URL that reads or writes one object without a key
    Url {
        #[command(flatten)]
        bucket: Named,
        /// The object's key
        key: String,
        /// Let it write the object instead of reading it
        #[arg(long)]
        put: bool,
        /// How long it works, in seconds, seven days at most
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        valid: u32,
    },
}

#[derive(Serialize)]
struct UrlRow {
    url: String,
    expire_time: Option<String>,
}

impl Row for UrlRow {
    const COLUMNS: &'static [&'static str] = &["EXPIRES", "URL"];

    fn cells(&self) -> Vec<String> {
        vec![self.expire_time.clone().unwrap_or_default(), self.url.clone()]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let Command::Url { bucket, key, put, valid } = command;
    if valid == 0 {
        return Err(Error::Usage("--valid: must be 1 or more".to_owned()));
    }
    let s3uid = s3uid_of(&bucket.account, session).await?;
    let method = if put { pb::SignedMethod::Put } else { pb::SignedMethod::Get };
    let request = pb::SignObjectUrlRequest {
        parent: format!("accounts/{s3uid}/buckets/{}", bucket.bucket),
        key,
        method: method.into(),
        valid_seconds: valid.into(),
    };
    let mut objects = ObjectServiceClient::new(session.client.api());
    let signed = objects.sign_object_url(request).await;
    let signed = signed.map_err(|status| session.client.explain(&status, FLAGS))?.into_inner();
    let row = UrlRow { url: signed.url, expire_time: output::time(signed.expire_time) };
    output::one(session.output, &row)
}
