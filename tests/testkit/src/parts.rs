//! The five parts in processes of their own, over PostgreSQL and RabbitMQ.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::StatusCode;
use stowage_db::testing::Scratch;

use crate::process::{end, free_port, program, send_signal};
use crate::{Facade, Site, eventually};

/// How long a start or an end may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The roles first: the gateway is ready when accounts is.
const PARTS: [&str; 5] = ["accounts", "storage", "billing", "metering", "gateway"];

/// `stowage serve PART` five times, each with a folder of its own but for the secrets. Killed when
/// dropped.
///
/// They share the broker of the tests under the program's own names: one such test at a time.
#[derive(Debug)]
pub struct Parts {
    children: Vec<Child>,
    addresses: Vec<SocketAddr>,
    scratch: Scratch,
    /// Ready for calls.
    pub site: Site,
}

impl Parts {
    /// Starts them with further environment variables and waits until all are ready.
    ///
    /// # Panics
    /// When the tests have no PostgreSQL or no broker, or a part does not become ready; the
    /// message has its log.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let scratch = Scratch::whole().await;
        let database = scratch.url().expect("STOWAGE_TEST_DATABASE_URL names a server").to_owned();
        let broker = std::env::var_os("STOWAGE_TEST_AMQP_URL");
        let broker = broker.expect("STOWAGE_TEST_AMQP_URL names a broker");
        let secrets = scratch.folder().join("secrets");
        let own = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        let mut all: Vec<(OsString, OsString)> = settings.iter().map(own).collect();
        all.push(("STOWAGE_DATABASE_URL".into(), database.into()));
        all.push(("STOWAGE_AMQP_URL".into(), broker));
        all.push(("STOWAGE_SECRETS_DIR".into(), secrets.clone().into()));
        let made = command(&all).args(["secrets", "make"]).status();
        assert!(made.is_ok_and(|status| status.success()), "secrets can be made");

        let addresses: Vec<SocketAddr> = PARTS.iter().map(|_| free_port()).collect();
        let s3 = free_port();
        all.push(("STOWAGE_S3_ADDR".into(), s3.to_string().into()));
        for (part, address) in PARTS.iter().zip(&addresses) {
            let name = part.to_uppercase();
            all.push((format!("STOWAGE_{name}_ADDR").into(), address.to_string().into()));
            if *part != "gateway" {
                let url = format!("http://{address}");
                all.push((format!("STOWAGE_{name}_URL").into(), url.into()));
            }
        }
        let children = PARTS.iter().map(|part| spawn(&all, part, scratch.folder())).collect();
        let token = fs::read_to_string(secrets.join("admin.token")).expect("a token was made");
        let gateway = *addresses.last().expect("the gateway is one of them");
        let site = Site::new(gateway, s3, token.trim().to_owned());
        let mut parts = Self { children, addresses, scratch, site };
        parts.wait_until_ready().await;
        parts
    }

    /// Where each part listens, by its name.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        PARTS.into_iter().zip(self.addresses.iter().copied())
    }

    /// What a part has printed.
    #[must_use]
    pub fn log(&self, part: &str) -> String {
        fs::read_to_string(self.scratch.folder().join(format!("{part}.log"))).unwrap_or_default()
    }

    /// Asks all to end as an operator does, and waits until they have.
    ///
    /// # Panics
    /// When one does not end in time, or not well.
    pub async fn stop(mut self) {
        for child in &self.children {
            send_signal(child.id(), "TERM");
        }
        for (part, child) in PARTS.iter().zip(&mut self.children) {
            let status = eventually("it ends", PATIENCE, async || match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                other => Err(format!("{part}: {other:?}")),
            });
            assert!(status.await.success(), "{part} ends well");
        }
    }

    async fn wait_until_ready(&mut self) {
        for place in 0..PARTS.len() {
            let (part, facade) = (PARTS[place], Facade::new(self.addresses[place]));
            eventually("it is ready", PATIENCE, async || {
                if let Ok(Some(status)) = self.children[place].try_wait() {
                    panic!("{part} ended with {status}:\n{}", self.log(part));
                }
                let request = http::Request::get("/readyz").body(bytes::Bytes::new());
                let answer = facade.try_send(request.expect("a path makes a request")).await?;
                let is_ready = answer.status == StatusCode::OK;
                if is_ready { Ok(()) } else { Err(format!("{part}: {}", answer.text())) }
            })
            .await;
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.children.iter_mut().for_each(end);
    }
}

fn command(settings: &[(OsString, OsString)]) -> Command {
    let mut command = Command::new(program());
    command.env_clear().envs(settings.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn spawn(settings: &[(OsString, OsString)], part: &str, folder: &Path) -> Child {
    let log = File::create(folder.join(format!("{part}.log")));
    let mut command = command(settings);
    command.env("STOWAGE_DATA_DIR", folder.join(part)).args(["serve", part]);
    command.stderr(log.expect("a log can be made in a temporary folder"));
    command.spawn().expect("the program starts")
}
