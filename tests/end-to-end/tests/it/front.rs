//! A metering front that the program opens as its configuration says.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use stowage_testkit::{Account, Process, eventually};

const HELD_WITHIN: Duration = Duration::from_secs(20);

/// Nobody listens there: which account a key is cannot be found out, and what moved is held.
const NO_ADMINISTRATION: &str = "http://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn a_front_of_the_configuration_passes_on_and_holds_what_nobody_can_be_charged_for_yet() {
    let behind = Process::start().await;
    let customer = behind.site.customer("front@example.com", "EUR").await;
    let plan_id = behind.site.plans().await.0;
    let account = behind.site.order(&customer.token, plan_id, "before-and-behind").await;

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let token = folder.path().join("token");
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&token);
    std::io::Write::write_all(&mut file.expect("a file can be made"), b"a-token")
        .expect("a file can be written");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|port| port.local_addr());
    let front = free.expect("a port is free");
    let path = folder.path().join("stowage.toml");
    let text = format!(
        "[location.FR]\nengine = \"garage\"\nendpoint = \"http://{front}\"\n\
         s3_endpoint = \"http://{}\"\nadmin_endpoint = \"{NO_ADMINISTRATION}\"\n\
         admin_token_file = {token:?}\n\n[location.FR.front]\naddr = \"{front}\"\n",
        behind.site.s3,
    );
    fs::write(&path, text).expect("a file can be written");
    let path = path.to_str().expect("a path in UTF-8");
    let server = Process::start_with(&[("STOWAGE_CONFIG", path)]).await;

    let through = Account { endpoint: format!("http://{front}"), ..account.clone() };
    let put = through.s3().put_object().bucket(&through.bucket).key("a/b");
    put.body(b"what passes".to_vec().into()).send().await.expect("a put passes the front");
    let got = account.s3().get_object().bucket(&account.bucket).key("a/b").send().await;
    let body = got.expect("it is behind the front").body.collect().await.expect("it is whole");
    assert_eq!(body.to_vec(), b"what passes");
    eventually("what moved is held", HELD_WITHIN, async || {
        let metrics = server.site.facade.get("/metrics", &[]).await.text();
        let is_held = |line: &str| {
            line.starts_with("stowage_storage_front_held_rows{")
                && line.contains("location=\"FR\"")
                && line.ends_with(" 1")
        };
        if metrics.lines().any(is_held) { Ok(()) } else { Err("no row is held".to_owned()) }
    })
    .await;
}
