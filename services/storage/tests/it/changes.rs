//! What is told for history.

use std::sync::{Arc, Mutex};
use stowage_db::testing::Scratch;

use async_trait::async_trait;
use stowage_bus::{Audience, BoxError, Event, Handler, Subscription};
use stowage_proto::storage as pb;
use stowage_types::{S3uid, name};
use tonic::Request;

use crate::engine::Memory;
use crate::kit::{Kit, OWNER, metered_bus, until};

/// What was told: event, actor, bucket, key.
type Told = (String, String, String, String);

#[derive(Default)]
struct Listener(Mutex<Vec<Told>>);

#[async_trait]
impl Handler for Listener {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let pb::ContentChanged { s3uid, event: what, actor, bucket, key, request_id } =
            event.message()?;
        assert!(!request_id.is_empty(), "{what} says by which call");
        assert_eq!(event.subject, format!("accounts/{s3uid}"));
        self.0.lock().unwrap().push((what, actor, bucket, key));
        Ok(())
    }
}

/// A new bucket, a file of it deleted, and the bucket too.
async fn come_and_go<T>(kit: &Kit, uid: &S3uid, by: T)
where
    T: Copy + Caller,
{
    let make = pb::CreateBucketRequest {
        parent: name::account(uid),
        bucket: "photos".to_owned(),
        ..Default::default()
    };
    // The second finds it there, and makes nothing.
    for _ in 0..2 {
        kit.buckets().create_bucket(by.sends(kit, make.clone())).await.unwrap();
    }
    let parent = format!("accounts/{uid}/buckets/photos");
    let file = pb::DeleteObjectRequest {
        parent: parent.clone(),
        key: "a/b".to_owned(),
        ..Default::default()
    };
    kit.objects().delete_object(by.sends(kit, file)).await.unwrap();
    let bucket = pb::DeleteBucketRequest { name: parent, ..Default::default() };
    kit.buckets().delete_bucket(by.sends(kit, bucket.clone())).await.unwrap();
    // What fails changes nothing.
    kit.buckets().delete_bucket(by.sends(kit, bucket)).await.unwrap_err();
}

trait Caller {
    fn sends<M>(self, kit: &Kit, message: M) -> Request<M>;
}

#[derive(Clone, Copy)]
enum By {
    Customer,
    AdministratorForHim,
    Service,
}

impl Caller for By {
    fn sends<M>(self, kit: &Kit, message: M) -> Request<M> {
        match self {
            Self::Customer => kit.as_customer(OWNER, message),
            Self::AdministratorForHim => kit.as_administrator_for(OWNER, message),
            Self::Service => kit.as_service_for(OWNER, message),
        }
    }
}

#[tokio::test]
async fn changes_are_told_with_who_made_them_but_for_steps_of_something_told_as_a_whole() {
    let (bus, meter) = metered_bus();
    let heard = Arc::new(Listener::default());
    bus.subscribe(Subscription {
        consumer: "history",
        kinds: &["stowage.storage.content.changed.v1"],
        audience: Audience::OneReplica,
        handler: heard.clone(),
    });
    let place = Arc::new(Scratch::new().await);
    let mut kit = Kit::over(Arc::new(Memory::default()), place, (bus, meter)).await;
    let uid = kit.account().await;
    come_and_go(&kit, &uid, By::Service).await;
    come_and_go(&kit, &uid, By::Customer).await;
    come_and_go(&kit, &uid, By::AdministratorForHim).await;
    kit.run_tasks();
    until(async || heard.0.lock().unwrap().len() >= 6).await;
    let his = "customers/1001";
    let for_him = "administrator for customers/1001";
    let expected = [
        ("bucket.created", his, ""),
        ("file.deleted", his, "a/b"),
        ("bucket.deleted", his, ""),
        ("bucket.created", for_him, ""),
        ("file.deleted", for_him, "a/b"),
        ("bucket.deleted", for_him, ""),
    ];
    let told = heard.0.lock().unwrap().clone();
    let told: Vec<_> = told
        .iter()
        .map(|(what, actor, bucket, key)| {
            assert_eq!(bucket, "photos");
            (what.as_str(), actor.as_str(), key.as_str())
        })
        .collect();
    assert_eq!(told, expected);
    kit.close().await;
}
