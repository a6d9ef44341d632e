//! The configuration: what wins, and that every fault is told at once.

use std::path::Path;

use stowage::config::{Config, Environment};

use crate::process::{finish, stderr, stowage};

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_file(text: &str, pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stowage.toml");
    std::fs::write(&path, text).unwrap();
    let all = [&[("STOWAGE_CONFIG", path.to_str().unwrap())], pairs].concat();
    Config::load(&environment(&all)).map_err(|faults| faults.list().to_vec())
}

#[test]
fn environment_beats_file_beats_default() {
    let text = "data_dir = '/srv/a'\n[gateway]\naddr = '127.0.0.1:1'\nbody_bytes_max = 4096\n\
                [s3]\naddr = '127.0.0.1:2'\n";
    let pairs = [("STOWAGE_GATEWAY_ADDR", "127.0.0.1:3"), ("STOWAGE_S3_ADDR", "")];
    let config = with_file(text, &pairs).unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/a"));
    assert_eq!(config.gateway.addr.port(), 3);
    assert_eq!(config.gateway.facade.body_bytes_max, 4096);
    assert_eq!(config.s3.addr.port(), 2, "an empty variable is not set");
    assert_eq!(config.s3.region, "us-east-1");
}

#[test]
fn numbers_and_booleans_come_from_the_environment_too() {
    let pairs = [
        ("STOWAGE_GATEWAY_BODY_BYTES_MAX", "2048"),
        ("STOWAGE_GATEWAY_REFUSE_TOKENS_IN_URLS", "true"),
        ("STOWAGE_GATEWAY_CORS_ORIGINS", "['https://console.example']"),
    ];
    let config = with_file("", &pairs).unwrap();
    assert_eq!(config.gateway.facade.body_bytes_max, 2048);
    assert!(config.gateway.facade.refuse_tokens_in_urls);
    assert_eq!(config.gateway.facade.cors_origins, ["https://console.example"]);
}

/// An installation of WHMCS as the README shows it, another one, and two webhooks.
const TABLES: &str = "[billing]\nprovider = 'whmcs'\n\
    [billing.whmcs]\nurl = 'https://billing.example.com'\nidentifier = 'x'\n\
    secret_file = '/run/w'\npayment_method = 'banktransfer'\nproducts = { 1 = 12, 2 = 13 }\n\
    [billing.whmcs_at.reseller]\nnumber = 1\nlocations = ['DE']\n\
    url = 'https://reseller.example.com'\nidentifier = 'y'\nsecret_file = '/run/r'\n\
    payment_method = 'paypal'\nproducts = { 1 = 7 }\n\
    [accounts.webhooks.mailer]\nurl = 'https://mailer.example.com'\nsecret_file = '/run/m'\n\
    [accounts.webhooks.chat]\nurl = 'https://chat.example.com'\nsecret_file = '/run/c'\n\
    events = ['billing.invoice.overdue']\n";

#[test]
fn settings_that_need_each_other_are_taken_together() {
    let config = with_file(TABLES, &[]).unwrap();
    let whmcs = config.billing.own.whmcs.unwrap();
    assert_eq!((whmcs.url.as_str(), whmcs.products.len()), ("https://billing.example.com", 2));
    let other = &config.billing.own.whmcs_at["reseller"];
    assert_eq!((other.number, other.products["1"], other.locations.len()), (1, 7, 1));
    let webhooks = &config.accounts.own.webhooks;
    assert_eq!((webhooks.len(), webhooks["chat"].events.len()), (2, 1));
}

#[test]
fn what_such_settings_lack_is_told_once_and_what_is_wrong_by_its_name() {
    for (was, is, wanted) in [
        ("identifier = 'x'\n", "", ": billing.whmcs: missing field `identifier`"),
        ("identifier = 'y'\n", "", ": billing.whmcs_at.reseller: missing field `identifier`"),
        ("secret_file = '/run/c'\n", "", ": accounts.webhooks.chat: missing field `secret_file`"),
        ("1 = 7", "1 = 'seven'", ": billing.whmcs_at.reseller.products.1: invalid type"),
        ("number = 1", "nomber = 1", ": billing.whmcs_at.reseller.nomber: unknown field"),
        ("'https://chat.example.com'", "'http://chat.example.com'", "accounts.webhooks.chat.url"),
        ("'DE'", "", "billing.whmcs_at.reseller must have a number above 0 and at least one"),
    ] {
        let faults = with_file(&TABLES.replace(was, is), &[]).unwrap_err();
        let count = faults.iter().filter(|fault| fault.contains(wanted)).count();
        assert_eq!(count, 1, "{wanted} in {faults:#?}");
    }
}

#[test]
fn every_fault_of_every_section_is_told_at_once() {
    let text = "colour = 'blue'\n[gateway]\naddr = 'here'\nadr = 1\nconnections_max = 0\n\
                [s3]\nregion = 'Not A Region'\n[storage]\ncall_ms_max = 'soon'\n[no_such]\n\
                [log]\nformat = 'xml'\n";
    let pairs = [
        ("STOWAGE_S3_ADDR", "0.0.0.0:9000"),
        ("STOWAGE_PORT", "80"),
        ("STOWAGE_LOG_LEVEL", "loud"),
        ("STOWAGE_GATEWAY_ADRESS", "x"),
        ("STOWAGE_TOKEN", "not a setting of the server"),
    ];
    let faults = with_file(text, &pairs).unwrap_err();
    let wanted = [
        "colour: unknown field `colour`",
        "gateway.addr: \"here\" is not an address",
        "gateway.adr: unknown field `adr`",
        "gateway.connections_max",
        "s3.region: \"Not A Region\"",
        "storage.call_ms_max: invalid type",
        "no_such: unknown field",
        "log.format: unknown variant `xml`",
        "s3.addr: 0.0.0.0:9000 is not a loopback address",
        "s3.endpoint: must be set",
        "STOWAGE_PORT: there is no such setting",
        "log.level: \"loud\"",
        "STOWAGE_GATEWAY_ADRESS: unknown field `adress`, expected one of `addr`, `plaintext`, `",
    ];
    for part in wanted {
        let count = faults.iter().filter(|fault| fault.contains(part)).count();
        assert_eq!(count, 1, "{part} in {faults:#?}");
    }
    assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
}

#[test]
fn limits_and_proxies_of_the_gateway_are_settings_like_any_other() {
    let pairs = [
        ("STOWAGE_GATEWAY_TRUSTED_PROXIES", "['10.0.0.0/8', '::1']"),
        ("STOWAGE_GATEWAY_FORWARDED_HEADER", "forwarded"),
        ("STOWAGE_GATEWAY_TOKEN_CALLS_PER_SECOND", "0"),
    ];
    let config = with_file("[gateway]\ncalls_in_flight_max = 7\n", &pairs).unwrap();
    let gateway = config.gateway.facade;
    assert_eq!(gateway.trusted_proxies, ["10.0.0.0/8", "::1"]);
    assert_eq!((gateway.token_calls_per_second, gateway.calls_in_flight_max), (0, 7));

    let pairs = [
        ("STOWAGE_GATEWAY_TRUSTED_PROXIES", "['proxy.example', '10.0.0.0/8', '0.0.0.0/0']"),
        ("STOWAGE_GATEWAY_FORWARDED_HEADER", "x-real-ip"),
        ("STOWAGE_GATEWAY_TOKEN_CALLS_PER_SECOND", "-1"),
    ];
    let text = "[gateway]\ncalls_in_flight_max = 0\nlogin_wait_ms_max = 0\n";
    let faults = with_file(text, &pairs).unwrap_err();
    for part in [
        "gateway.trusted_proxies: \"proxy.example\"",
        "gateway.trusted_proxies: \"0.0.0.0/0\"",
        "STOWAGE_GATEWAY_FORWARDED_HEADER: unknown variant `x-real-ip`",
        "STOWAGE_GATEWAY_TOKEN_CALLS_PER_SECOND: ",
        "gateway.calls_in_flight_max must be",
        "gateway.login_wait_ms_max must be",
    ] {
        let count = faults.iter().filter(|fault| fault.contains(part)).count();
        assert_eq!(count, 1, "{part} in {faults:#?}");
    }
    assert_eq!(faults.len(), 6, "{faults:#?}");
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_named() {
    let absent = Config::load(&environment(&[("STOWAGE_CONFIG", "/absent/stowage.toml")]));
    assert!(absent.unwrap_err().to_string().contains("/absent/stowage.toml"));
    let faults = with_file("addr = ", &[("STOWAGE_S3_ADDR", "x")]).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn the_two_listeners_need_two_addresses() {
    let faults = with_file("", &[("STOWAGE_S3_ADDR", "127.0.0.1:8080")]).unwrap_err();
    assert!(faults[0].contains("the same as gateway.addr"), "{faults:?}");
}

#[test]
fn wrong_configuration_exits_with_2_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = stowage(&data);
    command.env("STOWAGE_GATEWAY_ADDR", "nowhere").env("STOWAGE_S3_REGION", "?");
    let output = finish(&mut command);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("2 faults") && said.contains("nothing was started"), "{said}");
    assert!(said.contains("STOWAGE_GATEWAY_ADDR") && said.contains("s3.region"), "{said}");
    assert!(!data.exists());
}

#[test]
fn a_location_names_its_engine_and_how_it_is_reached() {
    let good = "engine = 'ceph-rgw'\nendpoint = 'https://s3.de.example'\naccess_key = 'a'\n\
                secret_key_file = 'de.secret'\n";
    let config = with_file(&format!("[location.DE]\n{good}state = 'draining'\n"), &[]).unwrap();
    let location = config.location["DE"].location("DE");
    assert_eq!((location.code.as_str(), location.region.as_str()), ("DE", "us-east-1"));
    assert_eq!(location.storage_types, ["standard"]);

    let garage = "[location.DE]\nengine = 'garage'\nendpoint = 'https://s3.de.example'\n\
                  admin_endpoint = 'http://10.0.0.5:3903'\nadmin_token_file = 'de.token'\n";
    let config = with_file(garage, &[]).unwrap();
    let reached = config.location["DE"].reached().unwrap();
    let endpoint = "https://s3.de.example";
    assert_eq!(
        (reached.admin_of(endpoint), reached.s3_of(endpoint)),
        ("http://10.0.0.5:3903", endpoint)
    );

    let aws = "[location.DE]\nengine = 'aws'\nendpoint = 'https://s3.de.example'\n\
               access_key = 'a'\nsecret_key_file = 'de.secret'\n\
               iam_endpoint = 'https://iam.example'\n";
    let config = with_file(aws, &[]).unwrap();
    assert_eq!(config.location["DE"].iam_endpoint.as_deref(), Some("https://iam.example"));

    let alone = [("STOWAGE_S3_ENABLED", "false")];
    with_file(&format!("[location.NL]\n{good}"), &alone).unwrap();
    // Those that are added by a command are enough.
    with_file("", &alone).unwrap();
}

#[test]
fn a_location_that_cannot_be_reached_as_it_is_named_is_refused() {
    let good = "engine = 'ceph-rgw'\nendpoint = 'https://s3.de.example'\naccess_key = 'a'\n\
                secret_key_file = 'de.secret'\n";
    for (text, wanted) in [
        (format!("[location.NL]\n{good}").as_str(), &["location.NL: is the embedded engine's"][..]),
        (&format!("[location.de]\n{good}"), &["location.de."]),
        ("[location.DE]\nengine = 'tape'\n", &["location.DE.engine: unknown variant `tape`"]),
        (
            "[location.DE]\nendpoint = 'ftp://x'\nmarker = ''\n",
            &["engine: must be set", "marker", "http"],
        ),
        (
            "[location.DE]\nengine = 'ceph-rgw'\nendpoint = 'https://x'\nadmin_token_file = 'x'\n",
            &["access_key: must", "secret_key_file: must", "admin_token_file: this engine has"],
        ),
        (
            "[location.DE]\nengine = 'garage'\nendpoint = 'https://x'\naccess_key = 'x'\n",
            &["admin_token_file: must", "admin_endpoint: must", "access_key: this engine has none"],
        ),
        (
            "[location.DE]\nengine = 'aws'\nendpoint = 'https://x'\nadmin_endpoint = 'https://y'\n\
             marker = 'a/b'\n",
            &[
                "access_key: must",
                "secret_key_file: must",
                "admin_endpoint: this engine has none",
                "marker: is part of a path",
            ],
        ),
        (
            &format!("[location.DE]\n{good}iam_endpoint = 'https://y'\n"),
            &["iam_endpoint: this engine has none"],
        ),
    ] {
        let faults = with_file(text, &[]).unwrap_err();
        for part in wanted {
            let count = faults.iter().filter(|fault| fault.contains(part)).count();
            assert_eq!(count, 1, "{part} in {faults:#?}");
        }
    }
}

const GARAGE: &str = "[location.FR]\nengine = 'garage'\nadmin_endpoint = 'http://10.0.0.5:3903'\n\
                      admin_token_file = 'fr.token'\nendpoint = 'https://s3.fr.example'\n";

#[test]
fn a_front_says_where_it_listens_and_what_is_behind_it() {
    let text = format!(
        "{GARAGE}s3_endpoint = 'http://10.0.0.5:3900'\n\
         [location.FR.front]\naddr = '127.0.0.1:3901'\ndomain = 's3.fr.example'\n"
    );
    let location = &with_file(&text, &[]).unwrap().location["FR"];
    let front = location.front.as_ref().unwrap();
    assert_eq!(front.addr.unwrap().port(), 3901);
    assert_eq!(front.domain.as_deref(), Some("s3.fr.example"));
    assert_eq!(location.location("FR").endpoint, "https://s3.fr.example");
    assert_eq!(location.reached().unwrap().s3_of(""), "http://10.0.0.5:3900");
}

#[test]
fn a_front_that_would_count_twice_or_not_at_all_is_refused() {
    let ceph = "[location.FR]\nengine = 'ceph-rgw'\nendpoint = 'https://x'\naccess_key = 'a'\n\
                secret_key_file = 'x'\ns3_endpoint = 'http://y'\n";
    let listens = "[location.FR.front]\naddr = '127.0.0.1:3901'\n";
    let of_front = |front: &str| format!("{GARAGE}s3_endpoint = 'http://y'\n{front}");
    let itself = format!("{GARAGE}s3_endpoint = 'https://s3.fr.example'\n{listens}");
    for (text, wanted) in [
        (format!("{ceph}{listens}"), &["location.FR.front: this engine counts traffic itself"][..]),
        (format!("{GARAGE}{listens}"), &["location.FR.s3_endpoint: must be set with front"]),
        (itself, &["location.FR.s3_endpoint: is the same as endpoint"]),
        (
            of_front("[location.FR.front]\ndomain = 'no host'\ntls_cert = 'x'\n"),
            &[
                "location.FR.front.addr: must be set",
                "location.FR.front.domain: \"no host\"",
                "location.FR.front.tls_key: must be set with tls_cert",
            ],
        ),
        (
            of_front("[location.FR.front]\naddr = '0.0.0.0:3901'\n"),
            &["location.FR.front.addr: 0.0.0.0:3901 is not a loopback address"],
        ),
        (
            of_front("[location.FR.front]\naddr = 'here'\nport = 1\n"),
            &["location.FR.front.addr: \"here\"", "location.FR.front.port: unknown field"],
        ),
    ] {
        let faults = with_file(&text, &[]).unwrap_err();
        for part in wanted {
            let count = faults.iter().filter(|fault| fault.contains(part)).count();
            assert_eq!(count, 1, "{part} in {faults:#?}");
        }
        assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
    }
}
