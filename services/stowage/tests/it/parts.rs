//! Parts in processes of their own, as far as they go without a broker: settings, secrets, what is
//! refused and what is said.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use stowage::config::{Config, Environment};

use crate::process::{Process, finish, stderr, stowage};

fn load(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment: Environment =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&environment).map_err(|faults| faults.list().to_vec())
}

/// Asserts that loading fails with exactly these faults, in any order.
fn assert_faults(pairs: &[(&str, &str)], wanted: &[&str]) {
    let faults = load(pairs).unwrap_err();
    for part in wanted {
        let count = faults.iter().filter(|fault| fault.contains(part)).count();
        assert_eq!(count, 1, "{part} in {faults:#?}");
    }
    assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
}

#[test]
fn addresses_of_roles_have_defaults_and_lists() {
    let config = load(&[]).unwrap();
    assert_eq!(config.accounts.urls(false), ["http://127.0.0.1:7101"]);
    assert_eq!(config.metering.urls(true), ["https://127.0.0.1:7104"]);
    let config = load(&[
        ("STOWAGE_ACCOUNTS_URL", "http://a:7101, http://b:7101"),
        ("STOWAGE_BILLING_URL", "['http://c:1', 'http://[::1]:2']"),
        ("STOWAGE_STORAGE_ADDR", "127.0.0.1:9"),
        ("STOWAGE_ACCOUNTS_RETENTION_DAYS", "3"),
    ])
    .unwrap();
    assert_eq!(config.accounts.urls(false), ["http://a:7101", "http://b:7101"]);
    assert_eq!(config.billing.urls(true), ["http://c:1", "http://[::1]:2"]);
    assert_eq!(config.storage.urls(false), ["http://127.0.0.1:9"]);
    assert_eq!(config.accounts.own.retention_days, 3);
    assert_faults(
        &[
            ("STOWAGE_ACCOUNTS_URL", "a:7101"),
            ("STOWAGE_BILLING_URL", "https://b:7103"),
            ("STOWAGE_STORAGE_URL", "http://c"),
            ("STOWAGE_METERING_ADR", "x"),
            ("STOWAGE_DATABASE_URL", "mysql://root:secret@db/x"),
            ("STOWAGE_AMQP_URL", "kafka://secret"),
        ],
        &[
            "accounts.url: \"a:7101\" is not a URL",
            "billing.url: \"https://b:7103\" needs TLS",
            "storage.url: \"http://c\" is not a URL",
            "STOWAGE_METERING_ADR: unknown field `adr`, expected one of `addr`, `url`, `",
            "database.url: is not a URL such as postgres://",
            "amqp.url: is not a URL such as amqp://",
        ],
    );
    let faults = load(&[("STOWAGE_DATABASE_URL", "mysql://root:secret@db/x")]).unwrap_err();
    assert!(!faults.concat().contains("secret"), "{faults:?}");
}

#[test]
fn nothing_listens_in_the_clear_on_a_network_unless_told_to() {
    let open = [
        ("STOWAGE_GATEWAY_ADDR", "0.0.0.0:8080"),
        ("STOWAGE_ACCOUNTS_ADDR", "10.0.0.1:7101"),
        ("STOWAGE_METERING_ADDR", "[::]:7104"),
    ];
    let wanted = [
        "gateway.addr: 0.0.0.0:8080 is not a loopback address",
        "accounts.addr: 10.0.0.1:7101 is not a loopback address",
        "metering.addr: [::]:7104 is not a loopback address",
    ];
    assert_faults(&open, &wanted);
    let no = [open.as_slice(), &[("STOWAGE_INSECURE", "0")]].concat();
    assert_faults(&no, &wanted);
    for yes in ["1", "true"] {
        load(&[open.as_slice(), &[("STOWAGE_INSECURE", yes)]].concat()).unwrap();
    }
    let odd = [("STOWAGE_INSECURE", "perhaps")];
    assert_faults(&odd, &["STOWAGE_INSECURE: expected true or false, 1 or 0"]);
    let tls = [
        ("STOWAGE_TLS_CA", "ca.pem"),
        ("STOWAGE_TLS_CERT", "cert.pem"),
        ("STOWAGE_TLS_KEY", "key.pem"),
        ("STOWAGE_GATEWAY_TLS_CERT", "public.pem"),
        ("STOWAGE_GATEWAY_TLS_KEY", "public.key"),
    ];
    load(&[open.as_slice(), &tls].concat()).unwrap();
    assert_faults(
        &[
            ("STOWAGE_TLS_CERT", "cert.pem"),
            ("STOWAGE_S3_TLS_KEY", "s3.key"),
            ("STOWAGE_GATEWAY_TLS_CERT", "public.pem"),
        ],
        &[
            "tls.key: must be set with cert",
            "tls.ca: must be set with cert",
            "s3.tls_cert: must be set with tls_key",
            "gateway.tls_key: must be set with tls_cert",
        ],
    );
}

#[test]
fn shared_secrets_are_made_once_for_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    let make = |more: &[&str]| {
        let mut command = stowage(folder.path());
        command.env("STOWAGE_SECRETS_DIR", &secrets).args(["secrets", "make"]).args(more);
        finish(&mut command)
    };
    let first = make(&["--password", "db.password"]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let read = |name: &str| std::fs::read_to_string(secrets.join(name)).unwrap();
    let files = ["signing.key", "admin.token", "keyring", "db.password"];
    for name in files {
        let mode = secrets.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
        assert!(String::from_utf8_lossy(&first.stdout).contains(name), "{name}");
        assert!(!String::from_utf8_lossy(&first.stdout).contains(read(name).trim()), "{name}");
    }
    let before = files.map(read);
    let again = make(&[]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("already"), "{again:?}");
    assert_eq!(files.map(read), before);
    let outside = make(&["--password", "../outside"]);
    assert_eq!(outside.status.code(), Some(2), "{}", stderr(&outside));
    assert!(!folder.path().join("outside").exists());
}

/// Runs a part that cannot start, and answers why.
fn refused(folder: &Path, part: &str, pairs: &[(&str, &str)], code: i32) -> String {
    let mut command = stowage(folder);
    let any = [("ACCOUNTS", 0), ("STORAGE", 0), ("BILLING", 0), ("METERING", 0)];
    for (role, port) in any {
        command.env(format!("STOWAGE_{role}_ADDR"), format!("127.0.0.1:{port}"));
    }
    let ended = finish(command.envs(pairs.iter().copied()).args(["serve", part]));
    assert_eq!(ended.status.code(), Some(code), "{part}: {}", stderr(&ended));
    stderr(&ended)
}

#[test]
fn a_part_says_what_it_lacks_before_it_makes_anything() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for part in ["accounts", "storage", "billing", "metering", "gateway"] {
        let why = refused(&data, part, &[], 2);
        assert!(why.contains("amqp.url: must be set (STOWAGE_AMQP_URL)"), "{part}: {why}");
        let broker = ("STOWAGE_AMQP_URL", "amqp://nobody@127.0.0.1:1/%2f");
        let tls = [broker, ("STOWAGE_TLS_CA", "/absent/ca.pem")];
        let absent = refused(&data, part, &[tls.as_slice(), &HALF].concat(), 2);
        assert!(absent.contains("/absent/"), "{part}: {absent}");
    }
    assert!(!data.exists(), "nothing was made");
    let unknown = refused(&data, "everything", &[], 2);
    assert!(unknown.contains("accounts, storage, billing, metering, gateway"), "{unknown}");
}

const HALF: [(&str, &str); 2] =
    [("STOWAGE_TLS_CERT", "/absent/cert.pem"), ("STOWAGE_TLS_KEY", "/absent/key.pem")];

#[test]
fn who_is_not_there_is_not_ready_and_a_schema_needs_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let url = ("STOWAGE_ACCOUNTS_URL", "http://127.0.0.1:1");
    let asked = finish(stowage(folder.path()).envs([url]).args(["ready", "accounts"]));
    assert_eq!(asked.status.code(), Some(1), "{}", stderr(&asked));
    assert!(stderr(&asked).contains("accounts is not ready: is not reachable"), "{asked:?}");
    let migrated = finish(stowage(folder.path()).arg("migrate"));
    assert_eq!(migrated.status.code(), Some(2), "{}", stderr(&migrated));
    assert!(stderr(&migrated).contains("STOWAGE_DATABASE_URL"), "{migrated:?}");
    let away = ("STOWAGE_DATABASE_URL", "postgres://someone:hidden@127.0.0.1:1/stowage");
    let migrated = finish(stowage(folder.path()).envs([away]).arg("migrate"));
    assert_eq!(migrated.status.code(), Some(1), "{}", stderr(&migrated));
    assert!(stderr(&migrated).contains("127.0.0.1"), "{migrated:?}");
    assert!(!stderr(&migrated).contains("hidden"), "{migrated:?}");
}

#[test]
fn all_roles_in_one_process_take_secrets_from_a_folder_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (data, secrets) = (folder.path().join("data"), folder.path().join("secrets"));
    let program = || {
        let mut command = stowage(&data);
        command.env("STOWAGE_SECRETS_DIR", &secrets);
        command
    };
    let early = finish(program().arg("serve"));
    assert_eq!(early.status.code(), Some(1), "{}", stderr(&early));
    assert!(stderr(&early).contains("stowage secrets make"), "{}", stderr(&early));
    assert!(finish(program().args(["secrets", "make"])).status.success());

    let server = Process::spawn(program().arg("serve"), &data);
    let token = secrets.join("admin.token").display().to_string();
    assert!(server.banner.contains(&token), "{}", server.banner);
    assert!(server.banner.contains("STOWAGE_SECRETS_DIR="), "{}", server.banner);
    for name in ["signing.key", "admin.token", "keyring"] {
        assert!(!data.join(name).exists(), "{name} is in its own folder only");
    }
    let ask = |command: &mut std::process::Command| {
        let listing = ["admin", "customer", "list"];
        finish(command.env("STOWAGE_ADDR", &server.gateway).args(listing))
    };
    let known = ask(&mut program());
    assert!(known.status.success(), "{}", stderr(&known));
    let elsewhere = ask(&mut stowage(&data));
    assert!(!elsewhere.status.success(), "the token is not in the data folder");
}
