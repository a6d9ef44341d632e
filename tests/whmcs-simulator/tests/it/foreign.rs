//! A client of WHMCS that is not ours, of the version that `cargo xtask test` installs.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use stowage_types::SystemClock;
use stowage_whmcs_simulator::{Cents, Settings, Simulator};

/// The Python that has the client, in the target folder above the running test.
fn python() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors()
        .map(|folder| folder.join("whmcs-client/bin/python3"))
        .find(|path| path.is_file())
        .expect("the client of WHMCS is missing: run `cargo xtask test`")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_whmcs_finds_all_as_it_expects() {
    let simulator = Simulator::start(Settings::default(), Arc::new(SystemClock)).await;
    {
        let mut state = simulator.state();
        let euro = state.add_currency("EUR");
        state.add_product("Standard", &[(euro, "monthly", Cents(980))]);
    }
    let mut command = Command::new("timeout");
    command.arg("60").arg(python()).args(["-c", include_str!("foreign/client.py")]);
    command.arg(simulator.url()).env("no_proxy", "*");
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("the command can be waited for").expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.trim(), "all was right", "{errors}");
}
