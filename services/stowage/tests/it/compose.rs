//! The compose file at the root: that compose takes it, and that the program takes its settings.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use stowage::config::{Config, Environment};

/// The file as compose reads it: merged and filled in.
fn composed() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let run = Command::new("docker-compose").arg("config").current_dir(root).output();
    let run = run.expect("docker-compose is installed: `cargo xtask test` does it");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("the answer is text")
}

/// The settings of each service, by its name.
fn settings(composed: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let services = composed.split("services:\n").nth(1).expect("there are services");
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut service = String::new();
    for line in services.lines().take_while(|line| line.starts_with(' ')) {
        if !line.starts_with("   ") {
            line.trim().trim_end_matches(':').clone_into(&mut service);
        }
        if let Some((name, value)) = line.trim().split_once(": ")
            && name.starts_with("STOWAGE_")
        {
            let value = value.trim_matches(['\'', '"']).to_owned();
            found.entry(service.clone()).or_default().push((name.to_owned(), value));
        }
    }
    found
}

#[test]
fn compose_takes_the_file_and_the_program_takes_its_settings() {
    let composed = composed();
    let settings = settings(&composed);
    for part in ["accounts", "storage", "billing", "metering", "gateway"] {
        assert!(composed.contains(&format!("- {part}\n")), "`serve {part}` is a command");
        let own = settings.get(part).unwrap_or_else(|| panic!("{part} has settings: {composed}"));
        let environment: Environment = own.iter().cloned().collect();
        let config = Config::load(&environment).unwrap_or_else(|faults| panic!("{part}: {faults}"));
        assert!(config.database.url.is_some() && config.amqp.url.is_some(), "{part}");
        assert_eq!(config.accounts.urls(false), ["http://accounts:7101"], "{part}");
        assert!(!format!("{config:?}").contains("rabbitmq/%2f"), "addresses are not printed");
    }
    assert!(settings.contains_key("secrets"), "{settings:?}");
}
