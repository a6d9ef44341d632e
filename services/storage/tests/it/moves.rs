//! Moves of accounts between two embedded engines, with real clients on both sides.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use stowage_db::testing::Scratch;
use stowage_engine::{Engine, Error};
use stowage_engine_embedded::Embedded;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_proto::storage::AccountMoveState as State;
use stowage_types::{BucketName, S3uid, SystemRandom, name};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::embedded::open_engine;
use crate::kit::{
    Kit, OWNER, Settings, assert_reason, location, metered_bus, this_hour, until, wanted,
};

/// What a client has been told to be stored, by bucket and key.
pub(crate) type Stored = BTreeMap<(String, String), Vec<u8>>;

/// Two locations with their engines and endpoints, and the role over them.
pub(crate) struct Two {
    pub(crate) kit: Kit<Embedded>,
    /// The engine of DE itself, whatever is before it.
    pub(crate) to: Arc<Embedded>,
    pub(crate) settings: Settings,
    endpoints: [String; 2],
    stop: CancellationToken,
    serving: Vec<JoinHandle<()>>,
    _places: [Arc<Scratch>; 2],
}

impl Two {
    pub(crate) async fn start() -> Self {
        Self::behind(|engine| engine).await
    }

    /// With something before the engine of DE.
    pub(crate) async fn behind(around: impl Fn(Arc<dyn Engine>) -> Arc<dyn Engine>) -> Self {
        let places = [Arc::new(Scratch::new().await), Arc::new(Scratch::on_files())];
        let stop = CancellationToken::new();
        let (mut engines, mut endpoints, mut serving) = (Vec::new(), Vec::new(), Vec::new());
        for place in &places {
            let engine = open_engine(place.folder()).await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            endpoints.push(format!("http://{}", listener.local_addr().unwrap()));
            serving.push(tokio::spawn(engine.serve(listener, None, stop.clone())));
            engines.push(engine);
        }
        let to = engines.pop().unwrap();
        let mut settings = Settings::default();
        settings.config.move_page_max = 7;
        settings.more = vec![(location("DE"), around(Arc::<Embedded>::clone(&to)))];
        let (from, place) = (engines.pop().unwrap(), Arc::clone(&places[0]));
        let kit = Kit::set(from, place, metered_bus(), settings.clone()).await;
        let endpoints = endpoints.try_into().unwrap();
        Self { kit, to, settings, endpoints, stop, serving, _places: places }
    }

    pub(crate) async fn close(self) {
        self.stop.cancel();
        for serving in self.serving {
            serving.await.unwrap();
        }
        self.kit.close().await;
    }

    /// A client of a side, 0 the old one, with the key that `wanted` gives the account.
    pub(crate) fn client(&self, side: usize, uid: &S3uid) -> Client {
        let key = &wanted(uid).keys[0];
        let credentials =
            Credentials::new(&key.access_key, &key.secret_key, None, None, "the test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(credentials)
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoints[side])
            .force_path_style(true)
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .build();
        Client::from_conf(config)
    }

    /// An account at NL with two buckets and some objects.
    pub(crate) async fn account(&self) -> (S3uid, Stored) {
        let uid = S3uid::generate(&SystemRandom);
        self.kit.ensure(unbounded(&uid)).await.unwrap();
        let client = self.client(0, &uid);
        let mut stored = Stored::new();
        for bucket in ["photos", "papers"] {
            self.kit.create_bucket(OWNER, &uid, bucket).await.unwrap();
            for number in 0..20 {
                let body = format!("{bucket} {number}").into_bytes();
                put(&client, &mut stored, (bucket, &format!("key/{number:03}")), body).await;
            }
        }
        (uid, stored)
    }

    pub(crate) fn name(&self, uid: &S3uid) -> String {
        // One for each account, so that a repeat names the same.
        let id = uuid::Uuid::from_u128(u128::from_str_radix(uid.as_str(), 16).unwrap());
        name::account_move(uid, id)
    }

    pub(crate) async fn start_move(&self, uid: &S3uid) -> Result<pb::AccountMove, Status> {
        let request = pb::StartAccountMoveRequest {
            name: self.name(uid),
            location: "locations/DE".to_owned(),
            keys: wanted(uid).keys,
            validate_only: false,
        };
        let request = self.kit.as_service(request);
        Ok(self.kit.moves().start_account_move(request).await?.into_inner())
    }

    pub(crate) async fn get(&self, uid: &S3uid) -> pb::AccountMove {
        let request = pb::GetAccountMoveRequest { name: self.name(uid) };
        let request = self.kit.as_staff(request);
        self.kit.moves().get_account_move(request).await.unwrap().into_inner()
    }

    pub(crate) async fn reach(&self, uid: &S3uid, state: State) -> pb::AccountMove {
        until(async || self.get(uid).await.state() == state).await;
        self.get(uid).await
    }

    pub(crate) async fn freeze(&self, uid: &S3uid) -> Result<pb::AccountMove, Status> {
        let request = self.kit.as_service(pb::FreezeAccountMoveRequest { name: self.name(uid) });
        Ok(self.kit.moves().freeze_account_move(request).await?.into_inner())
    }

    pub(crate) async fn switch(
        &self,
        uid: &S3uid,
    ) -> Result<pb::SwitchAccountMoveResponse, Status> {
        self.switch_to(unbounded(uid)).await
    }

    async fn switch_to(
        &self,
        wanted: pb::EnsureEngineAccountRequest,
    ) -> Result<pb::SwitchAccountMoveResponse, Status> {
        let uid = S3uid::parse(wanted.name.trim_start_matches("accounts/")).unwrap();
        let request = pb::SwitchAccountMoveRequest {
            name: self.name(&uid),
            keys: wanted.keys,
            quota_bytes: wanted.quota_bytes,
            bucket_max: wanted.bucket_max,
            suspended: wanted.suspended,
            read_only: wanted.read_only,
            may_delete: wanted.may_delete,
        };
        let request = self.kit.as_service(request);
        Ok(self.kit.moves().switch_account_move(request).await?.into_inner())
    }

    pub(crate) async fn confirm(&self, uid: &S3uid) -> Result<pb::AccountMove, Status> {
        let request = self.kit.as_service(pb::ConfirmAccountMoveRequest { name: self.name(uid) });
        Ok(self.kit.moves().confirm_account_move(request).await?.into_inner())
    }

    pub(crate) async fn cancel(&self, uid: &S3uid) -> Result<pb::AccountMove, Status> {
        let request = self.kit.as_service(pb::CancelAccountMoveRequest { name: self.name(uid) });
        Ok(self.kit.moves().cancel_account_move(request).await?.into_inner())
    }

    /// What accounts does, up to the switch.
    pub(crate) async fn move_on(&self, uid: &S3uid) {
        self.reach(uid, State::Copied).await;
        self.freeze(uid).await.unwrap();
        self.reach(uid, State::Verified).await;
        self.switch(uid).await.unwrap();
    }

    /// Whether a side has exactly these objects, to a client with the account's key.
    pub(crate) async fn assert_has(&self, side: usize, uid: &S3uid, stored: &Stored) {
        let client = self.client(side, uid);
        let mut found = Stored::new();
        for bucket in client.list_buckets().send().await.unwrap().buckets() {
            let bucket = bucket.name().unwrap();
            let listed = client.list_objects_v2().bucket(bucket).send().await.unwrap();
            for object in listed.contents() {
                let key = object.key().unwrap();
                let got = client.get_object().bucket(bucket).key(key).send().await.unwrap();
                let body = got.body.collect().await.unwrap().to_vec();
                found.insert((bucket.to_owned(), key.to_owned()), body);
            }
        }
        let keys = |stored: &Stored| stored.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&found), keys(stored));
        assert!(found == *stored, "an object has other bytes");
    }

    pub(crate) async fn is_writable(&self, side: usize, uid: &S3uid) -> bool {
        let put = self.client(side, uid).put_object().bucket("photos").key("key/000");
        put.body(b"photos 0".to_vec().into()).send().await.is_ok()
    }

    /// Whether DE has nothing of an account.
    pub(crate) async fn is_gone(&self, engine: &Embedded, uid: &S3uid) -> bool {
        matches!(engine.account_usage(uid).await, Err(Error::NotFound))
    }
}

/// What accounts would ask for, without a bound of bytes.
fn unbounded(uid: &S3uid) -> pb::EnsureEngineAccountRequest {
    pb::EnsureEngineAccountRequest { quota_bytes: 0, ..wanted(uid) }
}

pub(crate) async fn put(
    client: &Client,
    stored: &mut Stored,
    (bucket, key): (&str, &str),
    body: Vec<u8>,
) {
    let put = client.put_object().bucket(bucket).key(key);
    put.body(body.clone().into()).send().await.unwrap();
    stored.insert((bucket.to_owned(), key.to_owned()), body);
}

/// An object of two parts.
async fn put_in_parts(client: &Client, stored: &mut Stored, key: &str) {
    let begun = client.create_multipart_upload().bucket("photos").key(key).metadata("a", "b c");
    let begun = begun.content_type("image/jpeg").send().await.unwrap();
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for (number, size) in [(1, 5 * 1024 * 1024), (2, 1000)] {
        let body = vec![b'0' + u8::try_from(number).unwrap(); size];
        whole.extend_from_slice(&body);
        let part = client.upload_part().bucket("photos").key(key).part_number(number);
        let part = part.upload_id(begun.upload_id().unwrap()).body(body.into()).send().await;
        let e_tag = part.unwrap().e_tag;
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(e_tag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let end = client.complete_multipart_upload().bucket("photos").key(key);
    let end = end.upload_id(begun.upload_id().unwrap()).multipart_upload(parts);
    end.send().await.unwrap();
    stored.insert(("photos".to_owned(), key.to_owned()), whole);
}

/// Writes, overwrites and deletes until it is refused; answers what was acknowledged, and the key
/// whose change was not.
async fn write_on(client: Client, mut stored: Stored) -> Stored {
    for round in 0_u32.. {
        let key = format!("live/{:02}", round % 23);
        let at = ("photos".to_owned(), key.clone());
        if round % 5 == 4 {
            if client.delete_object().bucket("photos").key(&key).send().await.is_err() {
                return stored;
            }
            stored.remove(&at);
            continue;
        }
        let body = format!("round {round}").into_bytes();
        let put = client.put_object().bucket("photos").key(&key).body(body.clone().into());
        if put.send().await.is_err() {
            return stored;
        }
        stored.insert(at, body);
    }
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_moves_with_all_it_has_while_its_customer_goes_on() {
    let mut two = Two::start().await;
    two.kit.run_tasks();
    let (uid, mut stored) = two.account().await;
    let client = two.client(0, &uid);
    for key in ["a b+c", "//", "ü/é/😀", "..", "a%20b"] {
        put(&client, &mut stored, ("papers", key), key.as_bytes().to_vec()).await;
    }
    put_in_parts(&client, &mut stored, "large").await;
    let started = two.start_move(&uid).await.unwrap();
    assert_eq!((started.start_bucket_count, started.start_object_count), (2, 46));
    let writing = tokio::spawn(write_on(client.clone(), stored));
    two.reach(&uid, State::Copied).await;
    let many = two.get(&uid).await;
    assert!(many.copied_object_count >= 46 && many.copied_bytes > 5 * 1024 * 1024, "{many:?}");
    two.freeze(&uid).await.unwrap();
    let stored = writing.await.unwrap();
    let verified = two.reach(&uid, State::Verified).await;
    assert!(verified.freeze_time.is_some() && verified.faults.is_empty(), "{verified:?}");
    assert!(two.client(1, &uid).list_buckets().send().await.is_err(), "it opened too early");
    let received = received(&two, &uid).await;
    let account = two.switch(&uid).await.unwrap().account.unwrap();
    assert_eq!(account.location, "locations/DE");
    assert!(client.list_buckets().send().await.is_err(), "the old side opens still");
    two.assert_has(1, &uid, &stored).await;
    let large = two.client(1, &uid).get_object().bucket("photos").key("large").send().await;
    let large = large.unwrap();
    assert_eq!(large.content_type(), Some("image/jpeg"));
    assert_eq!(large.metadata().unwrap()["a"], "b c");
    // Nothing of the copying was counted, and what is stored is counted once.
    assert_eq!(self::received(&two, &uid).await, received);
    assert_is_counted(&two, &uid, &stored).await;
    two.confirm(&uid).await.unwrap();
    two.confirm(&uid).await.unwrap();
    two.reach(&uid, State::Confirmed).await;
    two.confirm(&uid).await.unwrap();
    assert!(two.is_gone(&two.kit.engine, &uid).await);
    two.assert_has(1, &uid, &stored).await;
    assert_is_counted(&two, &uid, &stored).await;
    assert_eq!(two.kit.count("SELECT count(*) FROM account_move_copy").await, 0);
    two.close().await;
}

/// Bytes that metering was told to have come in, once both engines have told all.
async fn received(two: &Two, uid: &S3uid) -> i64 {
    two.kit.engine.flush().await.unwrap();
    two.to.flush().await.unwrap();
    let counted = async |engine: &Embedded| {
        let buckets = engine.list_buckets(uid, None, 10).await.unwrap();
        buckets.iter().map(|info| i64::try_from(info.received_bytes).unwrap()).sum::<i64>()
    };
    let expected = counted(&two.kit.engine).await + counted(&two.to).await;
    let told = || {
        let hour = this_hour().unix_timestamp() - 3600;
        let traffic = two.kit.meter.traffic();
        let own = traffic.iter().filter(|((of, _, at), _)| of == uid.as_str() && *at >= hour);
        own.map(|(_, moved)| moved[0]).sum::<i64>()
    };
    until(async || told() == expected).await;
    expected
}

async fn assert_is_counted(two: &Two, uid: &S3uid, stored: &Stored) {
    for bucket in ["photos", "papers"] {
        let own = stored.iter().filter(|((of, _), _)| of == bucket);
        let sums = own
            .fold((0, 0), |sum, (_, body)| (sum.0 + i64::try_from(body.len()).unwrap(), sum.1 + 1));
        until(async || two.kit.meter.last(uid, bucket) == Some(sums)).await;
    }
}

#[tokio::test]
async fn while_it_is_compared_nothing_in_it_changes() {
    let mut two = Two::start().await;
    let (uid, stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    two.kit.create_bucket(OWNER, &uid, "more").await.expect("it is only copied");
    two.kit.run_tasks();
    two.reach(&uid, State::Copied).await;
    two.freeze(&uid).await.unwrap();
    let moving = (Code::FailedPrecondition, ErrorReason::AccountMoving);
    let refused = two.kit.create_bucket(OWNER, &uid, "another").await;
    assert_reason(refused, moving.0, moving.1);
    assert_reason(two.kit.ensure(wanted(&uid)).await, moving.0, moving.1);
    assert_reason(two.kit.remove(&uid, true).await, moving.0, moving.1);
    let bucket = format!("{}/buckets/photos", name::account(&uid));
    let request = pb::StartBucketDeletionRequest { bucket: bucket.clone(), ..Default::default() };
    let request = two.kit.as_customer(OWNER, request);
    let refused = two.kit.deletions().start_bucket_deletion(request).await;
    assert_reason(refused, moving.0, moving.1);
    let key = "key/000".to_owned();
    let request = pb::DeleteObjectRequest { parent: bucket, key, ..Default::default() };
    let request = two.kit.as_administrator(request);
    let refused = two.kit.objects().delete_object(request).await;
    assert_reason(refused, moving.0, moving.1);
    two.reach(&uid, State::Verified).await;
    assert!(!two.is_writable(0, &uid).await);
    two.switch(&uid).await.unwrap();
    two.switch(&uid).await.expect("a repeat finds it done");
    two.assert_has(1, &uid, &stored).await;
    two.kit.create_bucket(OWNER, &uid, "another").await.unwrap_err();
    two.kit.ensure(wanted(&uid)).await.unwrap_err();
    let there = pb::EnsureEngineAccountRequest {
        location: "locations/DE".to_owned(),
        bucket_max: 5,
        ..wanted(&uid)
    };
    two.kit.ensure(there).await.unwrap();
    two.kit.create_bucket(OWNER, &uid, "another").await.unwrap();
    let another = BucketName::new("another").unwrap();
    assert_eq!(two.to.bucket_owner(&another).await.unwrap(), Some(uid.clone()));
    two.close().await;
}

#[tokio::test]
async fn a_bucket_being_deleted_holds_up_the_freeze() {
    let mut two = Two::start().await;
    let (uid, _) = two.account().await;
    let bucket = format!("{}/buckets/photos", name::account(&uid));
    let request = pb::StartBucketDeletionRequest { bucket, ..Default::default() };
    let request = two.kit.as_customer(OWNER, request);
    two.kit.deletions().start_bucket_deletion(request).await.unwrap();
    two.start_move(&uid).await.unwrap();
    two.kit.run_tasks_of("storage.account_moves");
    two.reach(&uid, State::Copied).await;
    let refused = two.freeze(&uid).await;
    let reason = ErrorReason::AccountMoveRefused;
    let status = assert_reason(refused, Code::FailedPrecondition, reason);
    assert!(status.message().contains("photos"), "{status:?}");
    assert!(two.is_writable(0, &uid).await, "what was refused has frozen it");
    two.kit.run_tasks();
    until(async || two.freeze(&uid).await.is_ok()).await;
    two.reach(&uid, State::Verified).await;
    two.switch(&uid).await.unwrap();
    let buckets = two.to.list_buckets(&uid, None, 10).await.unwrap();
    assert_eq!(buckets.len(), 1, "what was deleted at the old side came to the new one");
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_account_is_so_at_its_new_location_too() {
    let mut two = Two::start().await;
    two.kit.run_tasks();
    let (uid, stored) = two.account().await;
    let wanted = pb::EnsureEngineAccountRequest { read_only: true, ..unbounded(&uid) };
    two.kit.ensure(wanted.clone()).await.unwrap();
    two.start_move(&uid).await.unwrap();
    two.reach(&uid, State::Copied).await;
    two.freeze(&uid).await.unwrap();
    two.reach(&uid, State::Verified).await;
    two.switch_to(wanted).await.unwrap();
    assert!(!two.is_writable(1, &uid).await);
    two.assert_has(1, &uid, &stored).await;
}
