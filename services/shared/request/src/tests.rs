//! The promises of this crate, on a real database.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use stowage_auth::{Principal, PrincipalRole};
use stowage_db::args;
use stowage_db::testing::Scratch;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::{field_violations, reason_of, status};
use stowage_types::{CustomerId, FakeClock, SystemRandom};
use time::macros::datetime;
use tokio::sync::Notify;
use tonic::Code;

use super::*;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./tests/migrations");
const CALL: Duration = Duration::from_secs(30);

/// A vault that turns bytes round and writes down what they are bound to.
#[derive(Default)]
struct Turned(Mutex<Vec<String>>);

impl Vault for Turned {
    fn seal(&self, plain: &[u8], binding: &str) -> Result<Vec<u8>, BoxError> {
        self.0.lock().unwrap().push(binding.to_owned());
        Ok(plain.iter().map(|byte| !byte).collect())
    }

    fn open(&self, sealed: &[u8], binding: &str) -> Result<Vec<u8>, BoxError> {
        self.seal(sealed, binding)
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        Default::default()
    }

    fn rewrap(&self, _: &[u8], _: &str) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(None)
    }
}

struct Kit {
    place: Scratch,
    db: Db,
    clock: Arc<FakeClock>,
    requests: Requests,
    /// How often work was begun.
    runs: AtomicU32,
}

async fn open(place: &Scratch) -> Db {
    place.open("test", &MIGRATOR).await.unwrap()
}

impl Kit {
    async fn start() -> Self {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let clock = Arc::new(FakeClock::at(datetime!(2026-11-01 10:00 UTC)));
        let requests = Requests::new(db.clone(), clock.clone(), Arc::new(SystemRandom), CALL);
        Self { place, db, clock, requests, runs: AtomicU32::new(0) }
    }

    /// Another process over the same file.
    fn other_process(&self) -> Requests {
        Requests::new(self.db.clone(), self.clock.clone(), Arc::new(SystemRandom), CALL)
    }

    /// Makes a bucket; the answer carries the number of the run.
    async fn create(&self, by: i64, id: &str, bucket: &str) -> Result<pb::Bucket, Status> {
        let work = async |_, name: String, _| Ok(self.made(name));
        let answer = self.requests.once(create(by, id, bucket), read, work).await;
        answer.map(Response::into_inner)
    }

    async fn fail(&self, id: &str, code: Code) -> Status {
        let work = async |_, _, _: Once<pb::Bucket>| {
            Err::<pb::Bucket, _>(status(code, ErrorReason::Internal, "made to fail").build())
        };
        let answer: Result<Response<pb::Bucket>, Status> =
            self.requests.once(create(1, id, "photos"), read, work).await;
        answer.unwrap_err()
    }

    fn made(&self, bucket: String) -> pb::Bucket {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        pb::Bucket { bucket, object_count: run.into(), ..Default::default() }
    }

    async fn rows(&self) -> i64 {
        let row: (i64,) = self.db.fetch_one("SELECT count(*) FROM request", args![]).await.unwrap();
        row.0
    }
}

fn read(request: pb::CreateBucketRequest) -> Result<String, Status> {
    match request.bucket.as_str() {
        "" => Err(stowage_runtime::invalid(&stowage_types::Violations::of("bucket", "is empty"))),
        _ => Ok(request.bucket),
    }
}

fn by<T>(customer: i64, message: T) -> Request<T> {
    let principal = Principal {
        role: PrincipalRole::Customer,
        subject: format!("customers/{customer}"),
        customer: Some(CustomerId(customer)),
        acted_for: None,
        currency: None,
    };
    let mut request = Request::new(message);
    let cx = RequestContext { principal, request_id: String::new(), deadline: None };
    request.extensions_mut().insert(cx);
    request
}

fn create(customer: i64, id: &str, bucket: &str) -> Request<pb::CreateBucketRequest> {
    let (bucket, request_id) = (bucket.to_owned(), id.to_owned());
    by(customer, pb::CreateBucketRequest { bucket, request_id, ..Default::default() })
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_another_request_is_refused() {
    let kit = Kit::start().await;
    let first = kit.create(1, "k", "photos").await.unwrap();
    assert_eq!(kit.create(1, "k", "photos").await.unwrap(), first);
    let error = kit.create(1, "k", "films").await.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert_eq!(reason_of(&error), Some(ErrorReason::RequestIdReused));
    // Another customer's ids are his own.
    assert_eq!(kit.create(2, "k", "films").await.unwrap().object_count, 2);
    // Another method is another request, whatever it says.
    let message = pb::DeleteBucketRequest { request_id: "k".to_owned(), ..Default::default() };
    let read = |_| Ok::<_, Status>(());
    let work = async |_, (), _| Ok(pb::DeleteBucketResponse {});
    let answer: Result<Response<pb::DeleteBucketResponse>, _> =
        kit.requests.once(by(1, message), read, work).await;
    assert_eq!(reason_of(&answer.unwrap_err()), Some(ErrorReason::RequestIdReused));
    // Without an id every call runs.
    assert_eq!(kit.create(1, "", "photos").await.unwrap().object_count, 3);
    assert_eq!(kit.create(1, "", "photos").await.unwrap().object_count, 4);
}

#[tokio::test]
async fn answers_are_kept_for_more_than_a_day_and_outlive_the_process() {
    let kit = Kit::start().await;
    let first = kit.create(1, "k", "photos").await.unwrap();
    kit.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(kit.requests.forget_old().await.unwrap(), 0);
    kit.db.close().await;
    let db = open(&kit.place).await;
    let requests = Requests::new(db, kit.clock.clone(), Arc::new(SystemRandom), CALL);
    let kit = Kit { requests, ..kit };
    assert_eq!(kit.create(1, "k", "photos").await.unwrap(), first);
    kit.clock.advance(KEPT);
    assert_eq!(kit.requests.forget_old().await.unwrap(), 1);
    assert_eq!(kit.create(1, "k", "films").await.unwrap().object_count, 2);
}

#[tokio::test]
async fn a_request_under_the_name_of_another_action_is_another_request() {
    let kit = Kit::start().await;
    let send = async |action: &str| {
        let mut request = create(1, "k", "photos");
        request.metadata_mut().insert(stowage_auth::ACTION_KEY, action.parse().unwrap());
        let work = async |_, name: String, _| Ok(kit.made(name));
        let answer: Result<Response<pb::Bucket>, Status> =
            kit.requests.once(request, read, work).await;
        answer.map(Response::into_inner)
    };
    let first = send("create_order").await.unwrap();
    assert_eq!(send("create_order").await.unwrap(), first);
    for reused in [send("create_account").await, kit.create(1, "k", "photos").await] {
        assert_eq!(reason_of(&reused.unwrap_err()), Some(ErrorReason::RequestIdReused));
    }
}

#[tokio::test]
async fn what_a_saga_has_answered_is_the_answer() {
    let kit = Kit::start().await;
    let pending = Mutex::new(None);
    let saga = async |bucket: &str| {
        let pending: Pending = pending.lock().unwrap().clone().unwrap();
        // As it comes back from the state of a saga.
        let text = serde_json::to_string(&pending).unwrap();
        let pending: Pending = serde_json::from_str(&text).unwrap();
        let answer = pb::Bucket { bucket: bucket.to_owned(), ..Default::default() };
        let mut tx = kit.db.begin().await.unwrap();
        pending.answer(&mut tx, &answer, kit.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    };
    let answer: Result<Response<pb::Bucket>, Status> = kit
        .requests
        .once(create(1, "k", "photos"), read, async |_, name: String, once: Once<_>| {
            *pending.lock().unwrap() = once.pending();
            saga("by the saga").await;
            Ok(kit.made(name))
        })
        .await;
    assert_eq!(answer.unwrap().into_inner().bucket, "by the saga");
    // The first stands, and what was forgotten stays so.
    saga("again").await;
    assert_eq!(kit.create(1, "k", "photos").await.unwrap().bucket, "by the saga");
    kit.clock.advance(KEPT + Duration::from_secs(1));
    assert_eq!(kit.requests.forget_old().await.unwrap(), 1);
    saga("too late").await;
    assert_eq!(kit.rows().await, 0);
    let none: Result<Response<pb::Bucket>, Status> = kit
        .requests
        .once(create(1, "", "photos"), read, async |_, name: String, once: Once<_>| {
            assert_eq!(once.pending(), None);
            Ok(kit.made(name))
        })
        .await;
    none.unwrap();
}

#[tokio::test]
async fn a_failure_leaves_the_id_bound_and_only_an_unclear_one_is_resumed() {
    let kit = Kit::start().await;
    kit.fail("k", Code::FailedPrecondition).await;
    let error = kit.create(1, "k", "films").await.unwrap_err();
    assert_eq!(reason_of(&error), Some(ErrorReason::RequestIdReused));
    for _ in 0..2 {
        let work = async |_, _, once: Once<pb::Bucket>| {
            assert!(!once.resumes() && once.made().is_none());
            Err::<pb::Bucket, _>(Status::not_found("still not there"))
        };
        let answer: Result<Response<pb::Bucket>, Status> =
            kit.requests.once(create(1, "k", "photos"), read, work).await;
        assert_eq!(answer.unwrap_err().message(), "still not there");
    }
    assert!(kit.create(1, "k", "photos").await.is_ok());
    for code in [Code::Unavailable, Code::Internal, Code::DeadlineExceeded, Code::Aborted] {
        let id = format!("{code:?}");
        kit.fail(&id, code).await;
        let error = kit.create(1, &id, "films").await.unwrap_err();
        assert_eq!(reason_of(&error), Some(ErrorReason::RequestIdReused), "{code:?}");
        let work = async |_, name: String, once: Once<pb::Bucket>| {
            assert!(once.resumes() && once.made().is_none());
            Ok(kit.made(name))
        };
        let answer: Result<Response<pb::Bucket>, Status> =
            kit.requests.once(create(1, &id, "photos"), read, work).await;
        answer.unwrap();
    }
}

#[tokio::test]
async fn what_has_begun_is_told_to_the_next_attempt_whatever_the_failure() {
    let kit = Kit::start().await;
    let work = async |_, _, once: Once<pb::Bucket>| {
        let mut tx = kit.db.begin().await.unwrap();
        once.set_made(&mut tx, "7").await.unwrap();
        tx.commit().await.unwrap();
        Err::<pb::Bucket, _>(Status::failed_precondition("undone"))
    };
    let answer: Result<Response<pb::Bucket>, Status> =
        kit.requests.once(create(1, "k", "photos"), read, work).await;
    answer.unwrap_err();
    let work = async |_, name: String, once: Once<pb::Bucket>| {
        assert_eq!(once.made(), Some("7"));
        Ok(kit.made(name))
    };
    let answer: Result<Response<pb::Bucket>, Status> =
        kit.requests.once(create(1, "k", "photos"), read, work).await;
    answer.unwrap();
}

#[tokio::test]
async fn a_twin_of_a_running_request_comes_back_later() {
    let kit = Kit::start().await;
    let (begun, goes_on) = (Notify::new(), Notify::new());
    let work = async |_, name: String, _| {
        begun.notify_one();
        goes_on.notified().await;
        Ok(kit.made(name))
    };
    let first = kit.requests.once(create(1, "k", "photos"), read, work);
    let twin = async {
        begun.notified().await;
        let error = kit.create(1, "k", "photos").await.unwrap_err();
        assert_eq!((error.code(), reason_of(&error)), (Code::Aborted, Some(RUNNING)));
        // Other content is told so at once.
        let error = kit.create(1, "k", "films").await.unwrap_err();
        assert_eq!(reason_of(&error), Some(ErrorReason::RequestIdReused));
        goes_on.notify_one();
    };
    let (first, ()) = tokio::join!(first, twin);
    let first: pb::Bucket = first.unwrap().into_inner();
    assert_eq!(kit.create(1, "k", "photos").await.unwrap(), first);
}

const RUNNING: ErrorReason = ErrorReason::RequestInProgress;

#[tokio::test]
async fn a_dropped_call_lets_go_and_a_dead_one_when_its_lease_ends() {
    let kit = Kit::start().await;
    let hang = async |_, _, _: Once<pb::Bucket>| std::future::pending().await;
    let hung = || {
        let call = kit.requests.once::<_, _, pb::Bucket, _, Status, _, _>(
            create(1, "k", "photos"),
            read,
            hang,
        );
        tokio::time::timeout(Duration::from_millis(50), call)
    };
    assert!(hung().await.is_err());
    until(async || kit.create(1, "k", "photos").await.is_ok()).await;

    // A dead one: its claim is there and nobody lets go of it.
    let sql = "UPDATE request SET answer = NULL, lease_until = $1";
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute(sql, args![kit.clock.now() + CALL]).await.unwrap();
    tx.commit().await.unwrap();
    let error = kit.create(1, "k", "photos").await.unwrap_err();
    assert_eq!(reason_of(&error), Some(RUNNING));
    let other = kit.other_process();
    let work = async |_, name: String, _| Ok(kit.made(name));
    let answer: Result<Response<pb::Bucket>, Status> =
        other.once(create(1, "k", "photos"), read, work).await;
    assert_eq!(reason_of(&answer.unwrap_err()), Some(RUNNING));
    // A successor that has the database to itself need not wait.
    let other = other.taking_over(true);
    let work = async |_, name: String, _| Ok(kit.made(name));
    let answer: Result<Response<pb::Bucket>, Status> =
        other.once(create(1, "k", "photos"), read, work).await;
    assert!(answer.is_ok());
}

#[tokio::test]
async fn who_has_lost_his_claim_stores_nothing() {
    let kit = Kit::start().await;
    let work = async |_, name: String, once: Once<pb::Bucket>| {
        kit.clock.advance(CALL + LEASE_MARGIN);
        assert_eq!(kit.create(1, "k", "photos").await.unwrap().object_count, 1);
        let mut tx = kit.db.begin().await.unwrap();
        let answer = kit.made(name);
        once.answer(&mut tx, &answer).await?;
        Ok::<_, Error>(answer)
    };
    let read = |request| read(request).map_err(|_| Error::Reused);
    let lost: Result<Response<pb::Bucket>, Status> =
        kit.requests.once(create(1, "k", "photos"), read, work).await;
    assert_eq!(reason_of(&lost.unwrap_err()), Some(RUNNING));
    assert_eq!(kit.create(1, "k", "photos").await.unwrap().object_count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_twins_one_runs() {
    let kit = Arc::new(Kit::start().await);
    let twins: Vec<_> = (0..16)
        .map(|_| {
            let kit = Arc::clone(&kit);
            tokio::spawn(async move { kit.create(1, "k", "photos").await })
        })
        .collect();
    for twin in twins {
        match twin.await.unwrap() {
            Ok(made) => assert_eq!(made.object_count, 1),
            Err(error) => assert_eq!(reason_of(&error), Some(RUNNING)),
        }
    }
    assert_eq!(kit.runs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn ids_are_printable_and_short_and_all_bad_fields_are_told_together() {
    let kit = Kit::start().await;
    for id in ["x".repeat(65).as_str(), "a\nb", "\u{7f}"] {
        for (bucket, expected) in
            [("photos", vec!["request_id"]), ("", vec!["request_id", "bucket"])]
        {
            let error = kit.create(1, id, bucket).await.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            let fields: Vec<_> = field_violations(&error).into_iter().map(|(f, _)| f).collect();
            assert_eq!(fields, expected, "{id:?}");
        }
    }
    assert_eq!(kit.rows().await, 0);
    assert!(kit.create(1, &"ü".repeat(64), "photos").await.is_ok());
}

#[tokio::test]
async fn an_answer_with_a_secret_is_sealed() {
    use stowage_proto::accounts::{CreateApiKeyRequest, CreateApiKeyResponse};
    let kit = Kit::start().await;
    let vault = Arc::new(Turned::default());
    let requests = kit.requests.clone().sealed_by(vault.clone());
    let call = || by(1, CreateApiKeyRequest { request_id: "k".to_owned(), ..Default::default() });
    let work = async |_, (), _| {
        let secret = "the secret itself".to_owned();
        Ok(CreateApiKeyResponse { secret, ..Default::default() })
    };
    let read = |_| Ok::<_, Status>(());
    for _ in 0..2 {
        let answer: Response<CreateApiKeyResponse> =
            requests.once(call(), read, work).await.unwrap();
        assert_eq!(answer.into_inner().secret, "the secret itself");
    }
    let (stored,): (Vec<u8>,) =
        kit.db.fetch_one("SELECT answer FROM request", args![]).await.unwrap();
    assert!(!stored.windows(6).any(|part| part == b"secret"));
    assert_eq!(*vault.0.lock().unwrap(), ["request\ncustomers/1\nk"; 2]);
    // Without a vault it is refused rather than stored in clear.
    let bare: Result<Response<CreateApiKeyResponse>, _> =
        kit.other_process().once(call(), read, work).await;
    assert_eq!(bare.unwrap_err().code(), Code::Internal);
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not become so in time");
}
