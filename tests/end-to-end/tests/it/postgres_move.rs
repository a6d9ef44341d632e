//! Moving an installation from files to PostgreSQL: the real program, a real server.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use stowage_db::testing::Scratch;
use stowage_testkit::{Account, Customer, Process, eventually, program, s3_client};

use crate::walk::text;

/// What a text may have in it that formats of copying give a meaning to.
const ODD: &str = "a\tb\nc\r\\N \\. 'é' \u{1F980}";

/// What each table of an installation in use looks like when it is asked for.
const LISTINGS: [&[&str]; 8] = [
    &["customer", "list"],
    &["account", "list"],
    &["plan", "list"],
    &["location", "list"],
    &["saga", "list"],
    &["audit", "list"],
    &["audit", "verify"],
    &["reconcile"],
];

struct Shop {
    customer: Customer,
    kept: Account,
    cancelled: Account,
}

/// Customers, orders, a cancellation, a deletion, objects and figures.
async fn trade(server: &Process) -> Shop {
    let site = &server.site;
    let customer = site.customer("shop@example.com", "EUR").await;
    let other = site.customer("other@example.com", "EUR").await;
    let (paid, free) = site.plans().await;
    let kept = site.order(&customer.token, paid, "kept").await;
    let cancelled = site.order(&customer.token, paid, "cancelled").await;
    let deleted = site.order(&other.token, free, "deleted").await;
    for (n, account) in [&kept, &cancelled, &deleted].into_iter().enumerate() {
        let body = vec![b'x'; 40_000 * (n + 1)];
        let put = account.s3().put_object().bucket(&account.bucket).key("file");
        put.body(body.into()).send().await.expect("an object is stored");
    }
    let of = |account: &Account| account.s3uid.clone();
    let (cancel, delete) = (of(&cancelled), of(&deleted));
    for (action, token, s3uid) in [
        ("delete_payment_account", &customer.token, &cancel),
        ("delete_account", &other.token, &delete),
    ] {
        site.facade.action(action, token, &[("s3uid", s3uid)]).await.success();
    }
    let label = ["api-key", "create", &customer.id.to_string(), "--label", "x"];
    server.admin_json(&label).await;
    figures_are(server, &customer, &kept, 40_000).await;
    Shop { customer, kept, cancelled }
}

async fn figures_are(server: &Process, customer: &Customer, account: &Account, bytes: u32) {
    let site = &server.site;
    eventually("figures are collected", Duration::from_secs(60), async || {
        let of = [("s3uid", account.s3uid.as_str())];
        let answer = site.facade.action("get_buckets_rmq", &customer.token, &of).await.success();
        let stored = crate::walk::number(&answer["metering"]["total_storage_gb"]);
        let expected = f64::from(bytes) / f64::from(1 << 30);
        match (stored - expected).abs() < 1e-9 {
            true => Ok(()),
            false => Err(answer.to_string()),
        }
    })
    .await;
}

async fn listings(server: &Process) -> Vec<Value> {
    let mut all = Vec::new();
    for arguments in LISTINGS {
        all.push(server.admin_json(arguments).await);
    }
    all
}

/// Runs a statement in one of the stopped server's files.
async fn in_file(server: &Process, role: &str, sql: &'static str) {
    let path = server.data().join(format!("{role}.db"));
    let mut file = SqliteConnectOptions::new().filename(path).connect().await.expect("a file");
    sqlx::query(sql).bind(ODD).execute(&mut file).await.expect("a statement");
    file.close().await.expect("it can be closed");
}

async fn server_of(place: &Scratch) -> PgConnection {
    PgConnection::connect(place.server_url()).await.expect("the server answers")
}

async fn count(place: &Scratch, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut server_of(place).await).await.expect("a count")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_copied_and_goes_on_where_it_was() {
    let place = Scratch::whole().await;
    let url = place.server_url().to_owned();
    let mut server = Process::start().await;
    let shop = trade(&server).await;
    let move_it = ["migrate-database", "--to", &url];
    let in_use = server.admin(&move_it).await;
    assert_eq!(in_use.status.code(), Some(1));
    assert!(said(&in_use).contains("another Stowage"), "{}", said(&in_use));

    let before = listings(&server).await;
    assert_eq!(server.stop("TERM").await.code(), Some(0));
    in_file(&server, "accounts", "UPDATE api_key SET label = $1 WHERE label = 'x'").await;
    let dry = server.admin_json(&[&move_it[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry["outcome"], "copyable", "{dry}");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'accounts'";
    assert_eq!(count(&place, schemas).await, 0, "a dry run makes nothing");

    let copied = server.admin_json(&move_it).await;
    assert_eq!((&copied["outcome"], &copied["tables"]), (&json!("copied"), &dry["tables"]));
    assert!(!copied.to_string().contains("postgres://"), "no password is told: {copied}");
    let again = server.admin_json(&move_it).await;
    assert_eq!(again["outcome"], "same", "{again}");

    server.launch();
    let ended =
        eventually("a start on the files is refused", Duration::from_secs(60), async || {
            server.ended().ok_or_else(|| "it runs".to_owned())
        });
    assert_eq!(ended.await.code(), Some(1));
    assert!(server.log().contains("were copied to database"), "{}", server.log());

    server.set("STOWAGE_DATABASE_URL", &url);
    server.restart().await;
    for ((before, after), arguments) in before.iter().zip(listings(&server).await).zip(LISTINGS) {
        assert_eq!(*before, after, "{arguments:?}");
    }
    goes_on(&server, &shop).await;
    let label: String = sqlx::query_scalar("SELECT min(label) FROM accounts.api_key")
        .fetch_one(&mut server_of(&place).await)
        .await
        .expect("a label");
    assert_eq!(label, ODD);

    assert_eq!(server.stop("TERM").await.code(), Some(0));
    let late = server.admin(&move_it).await;
    assert_eq!(late.status.code(), Some(1), "a copy over a server in use");
    assert!(said(&late).contains("not of this installation"), "{}", said(&late));
}

/// Tokens, keys, objects, figures and numbers go on.
async fn goes_on(server: &Process, Shop { customer, kept, cancelled }: &Shop) {
    let site = &server.site;
    for account in [kept, cancelled] {
        let endpoint = format!("http://{}", site.s3);
        let s3 = s3_client(&endpoint, &account.access_key, &account.secret_key);
        s3.head_object().bucket(&account.bucket).key("file").send().await.expect("its object");
        let secret = site.show_key(&customer.token, &account.s3uid, "secret_key").await;
        assert_eq!(secret, account.secret_key);
    }
    figures_are(server, customer, kept, 40_000).await;
    let (paid, _) = site.plans().await;
    let accounts = site.accounts(&customer.token).await;
    let last = accounts.iter().map(|a| (a.account_id, a.order_id)).max().expect("accounts");
    let next = site.order(&customer.token, paid, "next").await;
    let accounts = site.accounts(&customer.token).await;
    let next = accounts.iter().find(|a| a.s3uid == next.s3uid).expect("the new account");
    // The deleted account of the other customer has the number between.
    assert_eq!((next.account_id, next.order_id), (last.0 + 2, last.1 + 2));
    let third = site.customer("third@example.com", "EUR").await;
    assert_eq!(third.id, customer.id + 2);
    let again = &[("action", "login"), ("key", customer.api_key.as_str())];
    let login = site.facade.form("/auth.php", again).await.value();
    assert_eq!(text(&login["result"], "customer_id"), customer.id.to_string());
    let verified = server.admin(&["audit", "verify"]).await;
    assert!(verified.status.success(), "{}", said(&verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_leaves_nothing_and_can_be_made_again() {
    let place = Scratch::whole().await;
    let url = place.server_url().to_owned();
    let mut server = Process::start().await;
    server.site.customer("many@example.com", "EUR").await;
    assert_eq!(server.stop("TERM").await.code(), Some(0));
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) \
        INSERT INTO sample (s3uid, bucket, time, stored_bytes, object_count, is_deleted) \
        SELECT 'someone', $1, strftime('%Y-%m-%dT%H:%M:%f000Z', 1767225600 + i, 'unixepoch'), \
            i * 1000000007, i, i % 2 FROM n";
    in_file(&server, "metering", many).await;
    let rows = "SELECT count(*) FROM metering.sample";
    let mut killed = 0;
    for delay_ms in [200, 400, 700, 1_000, 1_400, 2_000] {
        let mut command = Command::new(program());
        command.args(["admin", "migrate-database"]).env_clear();
        command.env("STOWAGE_DATA_DIR", server.data()).env("STOWAGE_DATABASE_URL", &url);
        let mut child = command.stdout(Stdio::null()).spawn().expect("the command starts");
        let until = tokio::time::Instant::now() + Duration::from_millis(delay_ms);
        let is_over = async || match tokio::time::Instant::now() >= until {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        };
        eventually("the moment of the kill", Duration::from_secs(10), is_over).await;
        child.kill().expect("it can be killed");
        let status = child.wait().expect("it can be waited for");
        killed += usize::from(!status.success());
        let made = "SELECT count(*) FROM pg_tables WHERE schemaname = 'metering' \
            AND tablename = 'sample'";
        if count(&place, made).await == 1 {
            let rows = count(&place, rows).await;
            assert!(rows == 0 || rows == 60_000, "{rows} rows after {delay_ms} ms");
        }
    }
    assert!(killed > 0, "no kill came in time");
    let done = server.admin_json(&["migrate-database", "--to", &url]).await;
    assert!(["copied", "same"].contains(&text(&done, "outcome").as_str()), "{done}");
    assert_eq!(count(&place, rows).await, 60_000);
    let sum = "SELECT (sum(stored_bytes) / 1000000007)::bigint FROM metering.sample";
    assert_eq!(count(&place, sum).await, 60_000 * 60_001 / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_other_data_or_a_mind_of_its_own_is_refused() {
    let place = Scratch::whole().await;
    let url = place.server_url().to_owned();
    let mut server = Process::start().await;
    server.site.customer("careful@example.com", "EUR").await;
    let move_it = ["migrate-database", "--to", &url];
    assert_eq!(server.stop("TERM").await.code(), Some(0));
    let migrate = Command::new(program())
        .arg("migrate")
        .env_clear()
        .env("STOWAGE_DATABASE_URL", &url)
        .output();
    assert!(migrate.expect("it runs").status.success());
    let customers = "SELECT count(*) FROM accounts.customer";

    // What a statement did to the server, what the command says of it, and how it is mended.
    for (spoil, told, mend) in [
        (
            "INSERT INTO metering.account VALUES ('stranger', 1, NULL, now())",
            "not of this installation: accounts.",
            "DELETE FROM metering.account",
        ),
        (
            "CREATE FUNCTION accounts.twist() RETURNS trigger LANGUAGE plpgsql AS \
                'BEGIN NEW.email = upper(NEW.email); RETURN NEW; END'; \
             CREATE TRIGGER twist BEFORE INSERT ON accounts.customer FOR EACH ROW \
                EXECUTE FUNCTION accounts.twist()",
            "accounts.customer is not what was copied: a value differs",
            "DROP TRIGGER twist ON accounts.customer",
        ),
        (
            "CREATE FUNCTION accounts.swallow() RETURNS trigger LANGUAGE plpgsql AS \
                'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER swallow BEFORE INSERT ON accounts.history FOR EACH ROW \
                EXECUTE FUNCTION accounts.swallow()",
            "accounts.history is not what was copied: it has 0 rows instead of",
            "DROP TRIGGER swallow ON accounts.history",
        ),
        (
            "ALTER TABLE accounts.customer ADD COLUMN extra text",
            "accounts.customer is not on both sides",
            "ALTER TABLE accounts.customer DROP COLUMN extra",
        ),
    ] {
        let mut connection = server_of(&place).await;
        connection.execute(spoil).await.expect("a statement");
        let output = server.admin(&move_it).await;
        assert_eq!(output.status.code(), Some(1), "{spoil}");
        assert!(said(&output).contains(told), "{spoil}: {}", said(&output));
        assert_eq!(count(&place, customers).await, 0, "nothing stays: {spoil}");
        assert!(!server.data().join("databases-moved").exists(), "{spoil}");
        connection.execute(mend).await.expect("a statement");
    }
    let copied = server.admin_json(&move_it).await;
    assert_eq!(copied["outcome"], "copied");
    // A value that changes afterwards is found by looking again.
    let change = "UPDATE billing.plan_price SET period_nanos = period_nanos + 1 \
        WHERE period_nanos > 0";
    server_of(&place).await.execute(change).await.expect("a statement");
    let output = server.admin(&move_it).await;
    let error = said(&output);
    assert!(error.contains("billing.plan_price: the sum of period_nanos is"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_installation_is_not_copied_to_postgres() {
    let place = Scratch::whole().await;
    let mut server = Process::start_with(&[("STOWAGE_DATABASE_URL", place.server_url())]).await;
    assert_eq!(server.stop("TERM").await.code(), Some(0));
    let folder = server.data();
    drop(server);
    let empty = tempfile::tempdir().expect("a folder");
    for folder in [folder.as_path(), empty.path()] {
        let mut command = Command::new(program());
        command.args(["admin", "migrate-database", "--to", place.server_url()]).env_clear();
        let output = command.env("STOWAGE_DATA_DIR", folder).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("four databases"), "{}", said(&output));
    }
}
