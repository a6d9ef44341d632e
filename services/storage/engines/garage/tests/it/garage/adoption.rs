//! Keys and buckets that an operator made, as the manual of Garage has him do it.

use serde_json::json;
use stowage_engine::{Engine as _, Error, Foreign, KeyPair, Quota};
use stowage_engine_garage::Garage;
use stowage_types::{S3uid, SystemRandom};

use super::kit::{bucket, client, engine, key_pair, operator, put, seed};

/// A key that Garage has made.
async fn key(name: &str, creates: bool) -> KeyPair {
    let made = operator("CreateKey", &json!({ "name": name })).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let (access_key, secret_key) = (text("accessKeyId"), text("secretAccessKey").into());
    if creates {
        let allow = json!({ "allow": { "createBucket": true } });
        operator(&format!("UpdateKey?id={access_key}"), &allow).await;
    }
    KeyPair { access_key, secret_key }
}

/// A bucket with a name that all know; answers its id.
async fn global(name: &str) -> String {
    let made = operator("CreateBucket", &json!({ "globalAlias": name })).await;
    made["id"].as_str().unwrap().to_owned()
}

async fn allow(bucket: &str, key: &KeyPair, write: bool) {
    let permissions = json!({ "read": true, "write": write, "owner": false });
    let body =
        json!({ "bucketId": bucket, "accessKeyId": key.access_key, "permissions": permissions });
    operator("AllowBucketKey", &body).await;
}

/// Who a key is of, as he is listed.
async fn told(engine: &Garage, key: &KeyPair) -> Option<Foreign> {
    let mut after: Option<String> = None;
    loop {
        let page = engine.list_foreign(after.as_deref(), 20).await.unwrap();
        after = Some(page.last()?.name.clone());
        let has = |foreign: &Foreign| foreign.access_keys.contains(&key.access_key);
        if let Some(found) = page.into_iter().find(has) {
            return Some(found);
        }
    }
}

async fn got(key: &KeyPair, bucket: &str, object: &str) -> Vec<u8> {
    let got = client(key).get_object().bucket(bucket).key(object).send().await.unwrap();
    got.body.collect().await.unwrap().to_vec()
}

#[tokio::test]
async fn keys_that_share_buckets_become_an_account_and_are_given_up() {
    let (engine, another) = (engine(), engine());
    let name = format!("alice {}", seed());
    let (one, two) = (key(&name, false).await, key("", false).await);
    let (photos, empty) = (bucket(), bucket());
    for (name, bound) in [(&photos, Some(1 << 20)), (&empty, None)] {
        let id = global(name.as_str()).await;
        allow(&id, &one, true).await;
        allow(&id, &two, true).await;
        let quotas = json!({ "quotas": { "maxSize": bound, "maxObjects": null } });
        operator(&format!("UpdateBucket?id={id}"), &quotas).await;
    }
    put(&one, &photos, "k", vec![1; 10]).await;

    let foreign = told(&engine, &two).await.unwrap();
    let mut keys = [one.access_key.clone(), two.access_key.clone()];
    keys.sort();
    assert_eq!((&foreign.name, &foreign.access_keys[..]), (&keys[0], &keys[..]));
    assert_eq!((foreign.display_name.as_str(), &foreign.obstacle), (name.as_str(), &None));
    let mut names = [photos.as_str(), empty.as_str()];
    names.sort_unstable();
    assert_eq!((foreign.buckets, foreign.bucket_max), (names.map(str::to_owned).into(), Some(2)));
    assert_eq!(engine.find_foreign(&keys[1]).await.unwrap(), None, "it is called by the first");

    let uid = S3uid::generate(&SystemRandom);
    for engine in [&engine, &another, &engine] {
        let adopted = engine.adopt(&foreign.name, &uid).await.unwrap();
        assert_eq!((adopted.quota, adopted.bucket_max), (Quota::default(), Some(2)));
        let had: Vec<_> = adopted.keys.iter().map(|key| key.access_key.clone()).collect();
        assert_eq!(had, keys);
    }
    assert_eq!(told(&another, &one).await, None);
    for key in [&one, &two] {
        assert_eq!(got(key, photos.as_str(), "k").await, [1; 10]);
        assert_eq!(another.key_owner(&key.access_key).await.unwrap().as_ref(), Some(&uid));
    }
    // What is empty is no less his; and his bound of a bucket is one that the account knows.
    let buckets = engine.list_buckets(&uid, None, 10).await.unwrap();
    let called: Vec<_> = buckets.iter().map(|info| info.bucket.as_str()).collect();
    assert_eq!(called, names);
    let bounds =
        |name: &str| buckets.iter().find(|info| info.bucket.as_str() == name).unwrap().quota;
    assert_eq!(bounds(photos.as_str()), Quota::bytes(1 << 20));
    assert_eq!(bounds(empty.as_str()), Quota::default());
    put(&two, &empty, "k", vec![2; 5]).await;

    engine.release(&uid).await.unwrap();
    let back = told(&another, &one).await.unwrap();
    assert_eq!((back.display_name, back.obstacle), (name, None));
    assert_eq!(got(&one, empty.as_str(), "k").await, [2; 5]);
    let gone = engine.list_buckets(&uid, None, 10).await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
    engine.adopt(&back.name, &uid).await.unwrap();
    engine.remove_account(&uid, true).await.unwrap();
    assert_eq!(told(&engine, &one).await, None);
}

#[tokio::test]
async fn a_key_with_buckets_of_its_own_names_lives_on_as_an_account() {
    let engine = engine();
    let one = key("bob", true).await;
    let own = bucket();
    client(&one).create_bucket().bucket(own.as_str()).send().await.unwrap();
    put(&one, &own, "k", vec![3; 10]).await;
    let foreign = told(&engine, &one).await.unwrap();
    assert_eq!((foreign.bucket_max, foreign.obstacle), (None, None));
    let uid = S3uid::generate(&SystemRandom);
    let adopted = engine.adopt(&foreign.name, &uid).await.unwrap();
    let mut spec = stowage_engine::AccountSpec::new(uid.clone(), adopted.keys);
    spec.quota = Quota::bytes(1 << 20);
    spec.keys.push(key_pair());
    engine.ensure_account(&spec).await.unwrap();
    let more = bucket();
    engine.create_bucket(&uid, &more).await.unwrap();
    for key in &spec.keys {
        put(key, &more, "k", vec![4; 4]).await;
        assert_eq!(got(key, own.as_str(), "k").await, [3; 10]);
    }
    spec.keys.remove(0);
    engine.ensure_account(&spec).await.unwrap();
    client(&one).list_buckets().send().await.unwrap_err();
    engine.remove_account(&uid, true).await.unwrap();
}

#[tokio::test]
async fn keys_that_would_lose_or_gain_something_are_not_adopted() {
    let engine = engine();
    let (one, reader) = (key("", false).await, key("", false).await);
    let photos = bucket();
    let id = global(photos.as_str()).await;
    allow(&id, &one, true).await;
    allow(&id, &reader, false).await;
    let foreign = told(&engine, &one).await.unwrap();
    let why = foreign.obstacle.unwrap();
    assert!(why.contains(&reader.access_key) && why.contains("may not read and write"), "{why}");
    let uid = S3uid::generate(&SystemRandom);
    let refused = engine.adopt(&foreign.name, &uid).await;
    assert!(matches!(&refused, Err(Error::Invalid { why: told }) if *told == why), "{refused:?}");
    // Nothing has changed: once it is mended it is taken.
    assert_eq!(told(&engine, &one).await.unwrap().access_keys.len(), 2);
    operator(&format!("DeleteKey?id={}", reader.access_key), &json!(null)).await;
    let expires = json!({ "expiration": "2099-01-01T00:00:00Z" });
    operator(&format!("UpdateKey?id={}", one.access_key), &expires).await;
    let why = told(&engine, &one).await.unwrap().obstacle.unwrap();
    assert!(why.contains("expires"), "{why}");
    operator(&format!("UpdateKey?id={}", one.access_key), &json!({ "neverExpires": true })).await;
    engine.adopt(&one.access_key, &uid).await.unwrap();
    engine.remove_account(&uid, true).await.unwrap();
}
