//! Master keys are rotated under the engine while it serves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use stowage_db::{Db, args};
use stowage_engine::{AccountSpec, Engine as _, KeyPair};
use stowage_engine_embedded::{Embedded, EmbeddedConfig};
use stowage_keyring::{Keyring, Rules, Source};
use stowage_types::{S3uid, SystemClock, SystemRandom};
use tempfile::TempDir;

use crate::kit::{Kit, client, key_pair};

/// A new master key is used at once, and an old one may go at once.
const RULES: Rules = Rules { usable_after: Duration::ZERO, retire_after: Duration::ZERO };

async fn open(root: &Path) -> (Embedded, Arc<Keyring>) {
    let source = Source::File(root.join("keyring"));
    let keyring = Keyring::open_source(source, RULES, Arc::new(SystemClock), &SystemRandom);
    let keyring = Arc::new(keyring.unwrap());
    let config = EmbeddedConfig::new(root, "eu-test-1");
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let engine = Embedded::open(config, Arc::clone(&keyring), clock, random).await.unwrap();
    (engine, keyring)
}

async fn versions(engine: &Embedded) -> Vec<(u32, u64)> {
    engine.keyring().await.unwrap().unwrap().access_keys
}

/// How many were moved, and how many do not open.
async fn rewrap(engine: &Embedded, max: u32) -> (u64, u64) {
    let (mut moved, mut refused, mut after) = (0, 0, String::new());
    loop {
        let part = engine.rewrap(&after, max).await.unwrap();
        moved += part.moved;
        refused += part.refused;
        match part.next {
            Some(next) => after = next,
            None => return (moved, refused),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_move_under_a_new_master_key_while_s3_is_served() {
    let folder = Arc::new(TempDir::new().unwrap());
    let (engine, keyring) = open(folder.path()).await;
    let kit = Kit::serve(engine.clone(), Arc::clone(&folder)).await;
    let mut accounts = Vec::new();
    for number in 1..=7 {
        accounts.push(kit.account(number).await);
    }
    keyring.rotate(&SystemRandom).unwrap();
    assert_eq!(versions(&engine).await, [(1, 7)]);
    let part = engine.rewrap("", 3).await.unwrap();
    assert_eq!((part.moved, part.refused, part.next.is_some()), (3, 0, true));
    assert_eq!(versions(&engine).await, [(1, 4), (2, 3)]);
    // The process dies in the middle; the next one reads both kinds and goes on.
    kit.stop().await;
    drop((engine, keyring));
    let (engine, keyring) = open(folder.path()).await;
    let kit = Kit::serve(engine.clone(), Arc::clone(&folder)).await;
    let puts = async {
        for (n, account) in accounts.iter().enumerate() {
            let bucket = stowage_types::BucketName::new(&format!("bucket-{n}")).unwrap();
            engine.create_bucket(&account.uid, &bucket).await.unwrap();
            let s3 = client(kit.address, &account.keys);
            s3.put_object().bucket(bucket.as_str()).key("k").send().await.unwrap();
        }
    };
    let ((), moved) = tokio::join!(puts, rewrap(&engine, 1));
    assert_eq!(moved, (4, 0));
    assert_eq!((rewrap(&engine, 1).await, versions(&engine).await), ((0, 0), vec![(2, 7)]));
    keyring.retire(1).unwrap();
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_changes_meanwhile_is_never_overwritten() {
    let folder = Arc::new(TempDir::new().unwrap());
    let (engine, keyring) = open(folder.path()).await;
    let uid = S3uid::parse(&format!("{:032x}", 1)).unwrap();
    let set = async |secret: &str| {
        let access_key = key_pair(1).access_key;
        let keys = vec![KeyPair { access_key, secret_key: secret.into() }];
        engine.ensure_account(&AccountSpec::new(uid.clone(), keys)).await.unwrap();
    };
    for round in 0..20 {
        set("the-secret-of-before-of-forty-characters").await;
        keyring.rotate(&SystemRandom).unwrap();
        let new = format!("the-secret-of-round-{round:020}");
        // Whichever comes first: the new secret stays.
        tokio::join!(set(&new), rewrap(&engine, 10));
        let kit = Kit::serve(engine.clone(), Arc::clone(&folder)).await;
        let access_key = key_pair(1).access_key;
        let s3 = client(kit.address, &KeyPair { access_key, secret_key: new.into() });
        s3.list_buckets().send().await.unwrap();
        kit.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_under_a_retired_master_key_is_refused_and_counted() {
    let folder = Arc::new(TempDir::new().unwrap());
    let (engine, keyring) = open(folder.path()).await;
    let kit = Kit::serve(engine.clone(), Arc::clone(&folder)).await;
    let account = kit.account(1).await;
    keyring.rotate(&SystemRandom).unwrap();
    let path = folder.path().join("index.sqlite");
    kit.stop().await;
    drop(engine);
    let db = Db::open(&path, &MIGRATOR).await.unwrap();
    let sql = "SELECT sealed_secret FROM access_key";
    let (old,): (Vec<u8>,) = db.fetch_one(sql, args![]).await.unwrap();
    db.close().await;

    let (engine, keyring) = open(folder.path()).await;
    assert_eq!(rewrap(&engine, 10).await, (1, 0));
    keyring.retire(1).unwrap();
    drop(engine);
    let db = Db::open(&path, &MIGRATOR).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    tx.execute("UPDATE access_key SET sealed_secret = $1", args![old]).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await;

    let (engine, _keyring) = open(folder.path()).await;
    let kit = Kit::serve(engine.clone(), Arc::clone(&folder)).await;
    let error = client(kit.address, &account.keys).list_buckets().send().await.unwrap_err();
    assert_eq!(error.into_service_error().code(), Some("ServiceUnavailable"));
    assert_eq!((rewrap(&engine, 10).await, versions(&engine).await), ((0, 1), vec![(1, 1)]));
    kit.stop().await;
}

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
