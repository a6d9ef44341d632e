//! The role over the embedded engine, used by a real S3 client.

use std::path::Path;
use std::sync::Arc;
use stowage_db::testing::Scratch;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use stowage_bus::Bus;
use stowage_engine::Engine;
use stowage_engine_embedded::{Embedded, EmbeddedConfig};
use stowage_keyring::Keyring;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_types::{S3uid, SystemClock, SystemRandom, name, timestamp};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::kit::{Kit, Meter, OWNER, assert_reason, metered_bus, until, wanted};

/// The engine with its S3 endpoint, and the role over it.
struct Served {
    kit: Kit<Embedded>,
    endpoint: String,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

pub(crate) async fn open_engine(folder: &Path) -> Arc<Embedded> {
    let config = EmbeddedConfig::new(folder.join("s3"), "us-east-1");
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let keyring = Keyring::load_or_create(&folder.join("keyring"), &SystemRandom).unwrap();
    Arc::new(Embedded::open(config, Arc::new(keyring), clock, random).await.unwrap())
}

/// A client with the key that `wanted` gives the account.
pub(crate) fn client(endpoint: &str, uid: &S3uid) -> Client {
    let key = &wanted(uid).keys[0];
    let credentials = Credentials::new(&key.access_key, &key.secret_key, None, None, "the test");
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .credentials_provider(credentials)
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

impl Served {
    async fn start(place: &Arc<Scratch>, metered: (Bus, Arc<Meter>)) -> Self {
        let engine = open_engine(place.folder()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(engine.serve(listener, None, stop.clone()));
        let mut kit = Kit::over(engine, Arc::clone(place), metered).await;
        kit.run_tasks();
        Self { kit, endpoint, stop, serving }
    }

    async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.kit.close().await;
    }

    fn client(&self, uid: &S3uid) -> Client {
        client(&self.endpoint, uid)
    }

    async fn put(&self, client: &Client, key: &str, size: usize) {
        let put = client.put_object().bucket("photos").key(key);
        put.body(vec![b'x'; size].into()).send().await.unwrap();
    }

    async fn list(&self, uid: &S3uid, prefix: &str, search: &str) -> pb::ListObjectsResponse {
        let request = pb::ListObjectsRequest {
            parent: format!("{}/buckets/photos", name::account(uid)),
            prefix: prefix.to_owned(),
            search: search.to_owned(),
            ..Default::default()
        };
        let request = self.kit.as_customer(OWNER, request);
        self.kit.objects().list_objects(request).await.unwrap().into_inner()
    }

    /// What metering was told has moved into and out of the bucket.
    fn told(&self, uid: &S3uid) -> (i64, i64) {
        let traffic = self.kit.meter.traffic();
        let of_bucket = traffic
            .iter()
            .filter(|((account, bucket, _), _)| account == uid.as_str() && bucket == "photos");
        of_bucket.fold((0, 0), |sum, (_, moved)| (sum.0 + moved[0], sum.1 + moved[1]))
    }

    /// What the engine itself says has moved.
    async fn counted(&self, uid: &S3uid) -> (i64, i64) {
        let buckets = self.kit.engine.list_buckets(uid, None, 10).await.unwrap();
        let signed = |bytes| i64::try_from(bytes).unwrap();
        (signed(buckets[0].received_bytes), signed(buckets[0].sent_bytes))
    }
}

#[tokio::test]
async fn what_a_client_stores_is_listed_searched_deleted_and_metered() {
    let place = Arc::new(Scratch::new().await);
    let served = Served::start(&place, metered_bus()).await;
    let uid = served.kit.account().await;
    served.kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let client = served.client(&uid);
    for key in ["a.txt", "b/Beach.JPG", "b/c/deep.txt", "b/forest.jpg"] {
        served.put(&client, key, 1000).await;
    }
    let top = served.list(&uid, "", "").await;
    assert_eq!(top.objects.len(), 1);
    assert_eq!((top.objects[0].key.as_str(), top.objects[0].size_bytes), ("a.txt", 1000));
    assert_eq!(top.prefixes, ["b/"]);
    let found = served.list(&uid, "b/", "jpg").await;
    let keys: Vec<_> = found.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["b/Beach.JPG", "b/forest.jpg"]);

    until(async || served.kit.meter.last(&uid, "photos") == Some((4000, 4))).await;
    until(async || served.told(&uid) == served.counted(&uid).await).await;
    assert!(served.told(&uid).0 >= 4000, "every byte that came in is told");

    let request = pb::DeleteObjectRequest {
        parent: format!("{}/buckets/photos", name::account(&uid)),
        key: "a.txt".to_owned(),
        ..Default::default()
    };
    served.kit.objects().delete_object(served.kit.as_customer(OWNER, request)).await.unwrap();
    client.get_object().bucket("photos").key("a.txt").send().await.unwrap_err();
    until(async || served.kit.meter.last(&uid, "photos") == Some((3000, 3))).await;
    served.close().await;
}

#[tokio::test]
async fn restarts_count_nothing_twice_and_lose_nothing() {
    let place = Arc::new(Scratch::new().await);
    let (bus, meter) = metered_bus();
    let uid = S3uid::generate(&SystemRandom);
    for round in 1..=3 {
        let served = Served::start(&place, (bus.clone(), Arc::clone(&meter))).await;
        served.kit.ensure(wanted(&uid)).await.unwrap();
        served.kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
        served.put(&served.client(&uid), &format!("key-{round}"), 500).await;
        // Stopped at once: what is not told yet is told by the next.
        served.close().await;
    }
    let served = Served::start(&place, (bus, meter)).await;
    until(async || served.kit.meter.last(&uid, "photos") == Some((1500, 3))).await;
    until(async || served.told(&uid) == served.counted(&uid).await).await;
    assert!(served.told(&uid).0 >= 1500);
    served.close().await;
}

#[tokio::test]
async fn a_removed_account_gets_in_no_more_and_its_name_is_free() {
    let place = Arc::new(Scratch::new().await);
    let served = Served::start(&place, metered_bus()).await;
    let uid = served.kit.account().await;
    served.kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let client = served.client(&uid);
    served.put(&client, "a.txt", 10).await;
    let refused = served.kit.remove(&uid, false).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::BucketNotEmpty);
    client.get_object().bucket("photos").key("a.txt").send().await.expect("it is as it was");
    served.kit.remove(&uid, true).await.unwrap();
    client.get_object().bucket("photos").key("a.txt").send().await.unwrap_err();
    served.kit.ensure(wanted(&uid)).await.unwrap_err();
    let next = served.kit.account().await;
    served.kit.create_bucket(OWNER, &next, "photos").await.unwrap();
    served.close().await;
}

#[tokio::test]
async fn the_quota_of_an_account_can_be_changed() {
    let place = Arc::new(Scratch::new().await);
    let served = Served::start(&place, metered_bus()).await;
    let uid = S3uid::generate(&SystemRandom);
    let of = |quota_bytes| pb::EnsureEngineAccountRequest { quota_bytes, ..wanted(&uid) };
    served.kit.ensure(of(1000)).await.unwrap();
    served.kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let client = served.client(&uid);
    let put = || {
        let put = client.put_object().bucket("photos").key("big");
        put.body(vec![b'x'; 2000].into()).send()
    };
    put().await.unwrap_err();
    served.kit.ensure(of(3000)).await.unwrap();
    put().await.unwrap();
    served.close().await;
}

#[tokio::test]
async fn unfinished_uploads_are_shown_in_pages_and_ended_by_age() {
    let place = Arc::new(Scratch::new().await);
    let served = Served::start(&place, metered_bus()).await;
    let uid = served.kit.account().await;
    served.kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let client = served.client(&uid);
    let parent = format!("{}/buckets/photos", name::account(&uid));
    for key in ["a/b", "a/b", "z"] {
        let begun = client.create_multipart_upload().bucket("photos").key(key).send();
        let id = begun.await.unwrap().upload_id.unwrap();
        let part = client.upload_part().bucket("photos").key(key).upload_id(id).part_number(1);
        part.body(vec![b'x'; 500].into()).send().await.unwrap();
    }
    let (mut keys, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListUploadsRequest { parent: parent.clone(), page_size: 2, page_token };
        let page = served.kit.uploads().list_uploads(served.kit.as_customer(OWNER, request)).await;
        let page = page.unwrap().into_inner();
        keys.extend(page.uploads.into_iter().map(|upload| (upload.key, upload.stored_bytes)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let of = |key: &str| (key.to_owned(), Some(500));
    assert_eq!(keys, [of("a/b"), of("a/b"), of("z")]);

    let abort = async |begun_before| {
        let request =
            pb::AbortUploadsRequest { parent: parent.clone(), begun_before, ..Default::default() };
        served.kit.uploads().abort_uploads(served.kit.as_customer(OWNER, request)).await
    };
    let early = timestamp(time::OffsetDateTime::UNIX_EPOCH);
    let none = abort(Some(early)).await.unwrap().into_inner();
    assert_eq!((none.aborted_count, none.more), (0, false), "none is as old");
    let all = abort(None).await.unwrap().into_inner();
    assert_eq!((all.aborted_count, all.more), (3, false));
    assert_eq!(abort(None).await.unwrap().into_inner().aborted_count, 0);
    let mut wrong = early;
    wrong.seconds = i64::MAX;
    let refused = abort(Some(wrong)).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    served.close().await;
}

#[tokio::test]
async fn a_signed_url_opens_one_object_and_a_quota_of_a_bucket_holds() {
    let place = Arc::new(Scratch::new().await);
    let served = Served::start(&place, metered_bus()).await;
    let (kit, uid) = (&served.kit, served.kit.account().await);
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let client = served.client(&uid);
    served.put(&client, "a", 1000).await;
    let parent = format!("{}/buckets/photos", name::account(&uid));
    let sign = async |method: pb::SignedMethod, valid_seconds| {
        let (parent, key, method) = (parent.clone(), "ä b/c".to_owned(), method.into());
        let request = pb::SignObjectUrlRequest { parent, key, method, valid_seconds };
        kit.objects().sign_object_url(kit.as_customer(OWNER, request)).await
    };
    let signed = sign(pb::SignedMethod::Get, 60).await.unwrap().into_inner();
    // The endpoint is the one that customers are shown.
    assert!(signed.url.starts_with("http://127.0.0.1:9000/photos/%C3%A4%20b/c?"), "{}", signed.url);
    assert!(signed.url.contains("X-Amz-Expires=60"), "{}", signed.url);
    for (method, seconds) in [
        (pb::SignedMethod::Unspecified, 60),
        (pb::SignedMethod::Put, -1),
        (pb::SignedMethod::Put, 604_801),
    ] {
        let refused = sign(method, seconds).await;
        assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    }

    // A link that would write is none where nothing may be written; where nothing is let in, no
    // link is.
    let ensure = async |read_only, suspended| {
        let shut = pb::EnsureEngineAccountRequest { read_only, suspended, ..wanted(&uid) };
        kit.ensure(shut).await.unwrap();
    };
    ensure(true, false).await;
    sign(pb::SignedMethod::Get, 60).await.unwrap();
    let refused = sign(pb::SignedMethod::Put, 60).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountState);
    ensure(true, true).await;
    let refused = sign(pb::SignedMethod::Get, 60).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountState);
    ensure(false, false).await;

    let set = async |quota_bytes, quota_objects| {
        let name = parent.clone();
        let request =
            pb::SetBucketQuotaRequest { name, quota_bytes, quota_objects, ..Default::default() };
        kit.buckets().set_bucket_quota(kit.as_customer(OWNER, request)).await
    };
    let bucket = set(Some(1500), Some(5)).await.unwrap().into_inner();
    assert_eq!((bucket.quota_bytes, bucket.quota_objects), (Some(1500), Some(5)));
    assert_eq!(bucket.stored_bytes, 1000);
    let too_much = client.put_object().bucket("photos").key("b").body(vec![0; 501].into());
    too_much.send().await.unwrap_err();
    assert_reason(set(Some(0), None).await, Code::InvalidArgument, ErrorReason::InvalidField);
    let bucket = set(None, None).await.unwrap().into_inner();
    assert_eq!((bucket.quota_bytes, bucket.quota_objects), (None, None));
    served.put(&client, "b", 501).await;
    served.close().await;
}
