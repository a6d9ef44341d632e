//! Users that an operator made, and that become accounts.

use secrecy::ExposeSecret as _;
use stowage_engine::{AccountAccess, AccountSpec, Engine as _, Error, Foreign, KeyPair, Quota};
use stowage_engine_ceph::Ceph;
use stowage_types::{S3uid, SystemRandom};

use super::kit::{bucket, client, engine, key_pair, operator, put, seed};

/// A user as operators make them; answers his key.
async fn user(name: &str, more: &[(&str, &str)]) -> KeyPair {
    let key = key_pair();
    let about = [
        ("uid", name),
        ("display-name", "Alice Smith"),
        ("email", &format!("{}@example.test", seed())),
        ("access-key", &key.access_key),
        ("secret-key", key.secret_key.expose_secret()),
        ("max-buckets", "5"),
    ];
    operator("PUT", "user", &[&about, more].concat()).await;
    key
}

async fn told(engine: &Ceph, name: &str) -> Option<Foreign> {
    let before: String = name.chars().take(name.chars().count() - 1).collect();
    let page = engine.list_foreign(Some(&before), 10).await.unwrap();
    page.into_iter().find(|foreign| foreign.name == name)
}

#[tokio::test]
async fn a_user_whose_name_is_no_uid_is_adopted_and_given_up() {
    let (engine, another) = (engine(), engine());
    let name = format!("alice {}", seed());
    let key = user(&name, &[]).await;
    let quota = [("quota", ""), ("uid", &name), ("quota-type", "user"), ("max-size", "1048576")];
    let quota = [&quota[..], &[("max-objects", "-1"), ("enabled", "true")]].concat();
    operator("PUT", "user", &quota).await;
    let photos = bucket();
    client(&key).create_bucket().bucket(photos.as_str()).send().await.unwrap();
    put(&key, &photos, "k", vec![1; 10]).await;

    let foreign = told(&engine, &name).await.unwrap();
    assert_eq!(foreign.display_name, "Alice Smith");
    assert!(foreign.email.ends_with("@example.test"));
    assert_eq!((foreign.uid, foreign.obstacle), (None, None));
    assert_eq!(foreign.buckets, [photos.as_str()]);

    let uid = S3uid::generate(&SystemRandom);
    for engine in [&engine, &another, &engine] {
        let adopted = engine.adopt(&name, &uid).await.unwrap();
        assert_eq!((adopted.quota, adopted.bucket_max), (Quota::bytes(1 << 20), Some(5)));
        assert_eq!(adopted.access, AccountAccess::Full);
        let keys: Vec<_> = adopted.keys.iter().map(|key| &key.access_key).collect();
        assert_eq!(keys, [&key.access_key], "and not the one that it is found by");
    }
    assert_eq!(told(&engine, &name).await, None);
    let owner = another.bucket_owner(&photos).await.unwrap();
    assert_eq!(owner.as_ref(), Some(&uid));
    assert_eq!(another.key_owner(&key.access_key).await.unwrap().as_ref(), Some(&uid));
    is_an_account(&engine, &uid, &key).await;

    engine.release(&uid).await.unwrap();
    let foreign = told(&another, &name).await.unwrap();
    assert_eq!(foreign.display_name, "Alice Smith");
    assert_eq!(foreign.access_keys, std::slice::from_ref(&key.access_key));
    client(&key).get_object().bucket(photos.as_str()).key("k").send().await.unwrap();
    let gone = engine.list_buckets(&uid, None, 10).await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
    engine.adopt(&name, &uid).await.unwrap();
    engine.remove_account(&uid, true).await.unwrap();
    assert_eq!(engine.bucket_owner(&photos).await.unwrap(), None);
    assert_eq!(told(&engine, &name).await, None);
}

/// All that is done to accounts is done to it, and its name on RGW is nobody's business.
async fn is_an_account(engine: &Ceph, uid: &S3uid, key: &KeyPair) {
    let more = bucket();
    engine.create_bucket(uid, &more).await.unwrap();
    let second = key_pair();
    let spec = AccountSpec::new(uid.clone(), vec![key.clone(), second.clone()]);
    engine.ensure_account(&AccountSpec { bucket_max: Some(5), ..spec.clone() }).await.unwrap();
    put(&second, &more, "from the second key", vec![2; 20]).await;
    engine.set_access(uid, AccountAccess::Suspended).await.unwrap();
    let shut = client(key).list_buckets().send().await;
    assert!(shut.is_err(), "{shut:?}");
    engine.set_access(uid, AccountAccess::Full).await.unwrap();
    let usage = engine.account_usage(uid).await.unwrap();
    assert_eq!((usage.bucket_count, usage.object_count, usage.stored_bytes), (2, 2, 30));
    engine.delete_objects(uid, &more, &["from the second key".to_owned()]).await.unwrap();
    engine.delete_bucket(uid, &more).await.unwrap();
    engine.ensure_account(&AccountSpec { keys: vec![key.clone()], ..spec }).await.unwrap();
    let (mut stored, mut cursor) = (None, Default::default());
    loop {
        let batch = engine.collect_usage(&cursor, 10_000).await.unwrap();
        stored =
            batch.storage.iter().find(|row| row.uid == *uid && !row.deleted).cloned().or(stored);
        cursor = batch.next;
        if !batch.more {
            break;
        }
    }
    assert_eq!(stored.map(|row| row.stored_bytes), Some(10), "its usage is told under its uid");
}

#[tokio::test]
async fn a_user_that_would_lose_something_is_not_adopted() {
    let engine = engine();
    let name = format!("bob-{}", seed());
    user(&name, &[("user-caps", "usage=read")]).await;
    let subuser = format!("{name}-sub");
    user(&subuser, &[]).await;
    operator("PUT", "user", &[("uid", &subuser), ("subuser", "s"), ("access", "full")]).await;
    let bounded = format!("{name}-bounded");
    user(&bounded, &[]).await;
    let quota = [("quota", ""), ("uid", &bounded), ("quota-type", "user"), ("max-size", "-1")];
    let quota = [&quota[..], &[("max-objects", "7"), ("enabled", "true")]].concat();
    operator("PUT", "user", &quota).await;
    for (name, why) in [(&name, "rights"), (&subuser, "subusers"), (&bounded, "objects")] {
        let foreign = told(&engine, name).await.unwrap();
        assert!(foreign.obstacle.unwrap().contains(why), "{name}");
        let adopted = engine.adopt(name, &S3uid::generate(&SystemRandom)).await;
        assert!(matches!(&adopted, Err(Error::Invalid { why: w }) if w.contains(why)), "{name}");
        let foreign = told(&engine, name).await.unwrap();
        assert_eq!((foreign.display_name.as_str(), foreign.access_keys.len()), ("Alice Smith", 1));
        operator("DELETE", "user", &[("uid", name)]).await;
    }
}
