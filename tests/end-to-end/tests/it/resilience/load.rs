//! Clients that order, make buckets and read without end, and keep a book of what they were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use stowage_testkit::{Answer, Beside, Facade, Parts, eventually};
use tokio::task::JoinHandle;

/// Clients at once.
const CLIENTS: usize = 4;
/// How long a client waits for the end of one call, over all its attempts.
const CALL_MAX: Duration = Duration::from_secs(150);
/// Between two attempts, as `Retry-After` would say at least.
const PAUSE: Duration = Duration::from_millis(200);
/// How long calls may take to be answered again when what was away is back.
const GOES_ON_WITHIN: Duration = Duration::from_secs(90);

/// What clients were told.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Calls that ended well.
    pub(super) done: usize,
    /// Answers that were no success, each once; the calls were sent again.
    pub(super) failures: Vec<String>,
    /// The longest time of one attempt.
    pub(super) longest: Duration,
    /// Accounts by the token of their customer.
    accounts: BTreeMap<String, Vec<String>>,
    /// Buckets that were made beside the first of each account.
    buckets: usize,
}

/// Clients at work.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Book>>,
}

impl Load {
    pub(super) async fn start(parts: &Parts) -> Self {
        let gateways: Vec<SocketAddr> =
            (0..parts.count("gateway")).map(|n| parts.address("gateway", n)).collect();
        let site = parts.site(0);
        let plan = site.plans().await.0;
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients = Vec::new();
        for n in 0..CLIENTS {
            let token = site.customer(&format!("client-{n}@example.com"), "EUR").await.token;
            let facades = gateways.iter().map(|at| Facade::new(*at)).collect();
            let (stop, done, turn) = (Arc::clone(&stop), Arc::clone(&done), n);
            let book = Book::default();
            let client =
                Client { name: format!("c{n}"), token, plan, facades, turn, stop, done, book };
            clients.push(tokio::spawn(client.run()));
        }
        Self { stop, done, clients }
    }

    /// Waits until so many more calls have ended well.
    pub(super) async fn goes_on(&self, more: usize) {
        let goal = self.done.load(Ordering::SeqCst) + more;
        eventually("calls are answered", GOES_ON_WITHIN, async || {
            let done = self.done.load(Ordering::SeqCst);
            if done >= goal { Ok(()) } else { Err(format!("{done} of {goal}")) }
        })
        .await;
    }

    /// Lets every client end what it has begun.
    pub(super) async fn stop(self) -> Book {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Book::default();
        for client in self.clients {
            let book = client.await.expect("no client panics");
            all.done += book.done;
            all.failures.extend(book.failures);
            all.longest = all.longest.max(book.longest);
            all.accounts.extend(book.accounts);
            all.buckets += book.buckets;
        }
        all
    }
}

struct Client {
    name: String,
    token: String,
    plan: i64,
    facades: Vec<Facade>,
    /// Which gateway is asked next.
    turn: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    book: Book,
}

impl Client {
    async fn run(mut self) -> Book {
        let plan = self.plan.to_string();
        let mut number = 0;
        while !self.stop.load(Ordering::SeqCst) {
            number += 1;
            let bucket = format!("{}-{number:05}", self.name);
            let order = [("plan_id", plan.as_str()), ("bucket_name", bucket.as_str())];
            let answer = self.call("create_order", &order, &format!("order-{number}")).await;
            let s3uid = answer.value()["s3uid"].as_str().expect("an account").to_owned();
            let accounts = self.book.accounts.entry(self.token.clone()).or_default();
            accounts.push(s3uid.clone());
            for more in 0..2 {
                let bucket = format!("{}-{number:05}-more-{more}", self.name);
                let wanted = [("s3uid", s3uid.as_str()), ("bucket_name", bucket.as_str())];
                self.call("create_bucket", &wanted, &format!("bucket-{number}-{more}")).await;
                self.book.buckets += 1;
            }
            for (action, parameters) in [
                ("list_plans", &[][..]),
                ("get_users", &[]),
                ("get_buckets", &[("s3uid", s3uid.as_str())]),
                ("show_key", &[("s3uid", s3uid.as_str()), ("s3_key", "access_key")]),
            ] {
                self.call(action, parameters, "").await;
            }
        }
        self.book
    }

    /// Sends a call until it ends well, under one key.
    async fn call(&mut self, action: &str, parameters: &[(&str, &str)], key: &str) -> Answer {
        let begun = Instant::now();
        let mut body: BTreeMap<&str, &str> = parameters.iter().copied().collect();
        body.insert("token", &self.token);
        if !key.is_empty() {
            body.insert("idempotency_key", key);
        }
        let body = Bytes::from(serde_json::to_vec(&body).expect("a map can be written"));
        loop {
            let sent = Instant::now();
            let answer = self.send_somewhere(action, &body).await;
            self.book.longest = self.book.longest.max(sent.elapsed());
            let failure = match answer {
                Ok(answer) if is_success(&answer) => {
                    self.book.done += 1;
                    self.done.fetch_add(1, Ordering::SeqCst);
                    return answer;
                }
                Ok(answer) => format!("{action}: {}", answer.text()),
                Err(why) => format!("{action}: {why}"),
            };
            assert!(begun.elapsed() < CALL_MAX, "{}: {failure}", self.name);
            self.book.failures.push(failure);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks one gateway and, where that does not answer at all, each other one: what a balancer in
    /// front of them does.
    async fn send_somewhere(&mut self, action: &str, body: &Bytes) -> Result<Answer, String> {
        let mut last = String::new();
        for _ in 0..self.facades.len() {
            self.turn += 1;
            let facade = &self.facades[self.turn % self.facades.len()];
            let request = http::Request::post(format!("/s3/{action}"))
                .header("content-type", "application/json")
                .body(body.clone())
                .expect("a path makes a request");
            match facade.try_send(request).await {
                Ok(answer) => return Ok(answer),
                Err(why) => last = why,
            }
        }
        Err(last)
    }
}

fn is_success(answer: &Answer) -> bool {
    answer.status == StatusCode::OK
        && serde_json::from_slice::<serde_json::Value>(&answer.body)
            .is_ok_and(|value| value["result"] != -1 && value["code"] != -1)
}

impl Book {
    /// Waits until all work has ended, and compares what there is with what clients were told: each
    /// account and each bucket once, and of each bucket one event, in the order of its account.
    pub(super) async fn check(&self, parts: &Parts) {
        parts.settle().await;
        let site = parts.site(0);
        for (token, told) in &self.accounts {
            let mut there: Vec<String> =
                site.accounts(token).await.into_iter().map(|account| account.s3uid).collect();
            let mut told = told.clone();
            there.sort();
            told.sort();
            assert_eq!(there, told, "the accounts of a customer");
        }
        // Told to history by events.
        const EVENTS: &str = "SELECT count(*) FROM history WHERE event = 'bucket.created' \
            AND new_json LIKE '%-more-%'";
        const MISPLACED: &str = "SELECT count(*) FROM (SELECT new_json, lag(new_json) OVER \
            (PARTITION BY s3uid ORDER BY sequence) AS before FROM history \
            WHERE event = 'bucket.created' AND new_json LIKE '%-more-%') AS told \
            WHERE before >= new_json";
        let accounts = parts.beside("accounts");
        let expected = i64::try_from(self.buckets).expect("a small number");
        eventually("every event arrives", GOES_ON_WITHIN, async || {
            match count(&accounts, EVENTS).await {
                found if found >= expected => Ok(()),
                found => Err(format!("{found} of {expected}")),
            }
        })
        .await;
        assert_eq!(count(&accounts, EVENTS).await, expected, "events of buckets, each once");
        assert_eq!(count(&accounts, MISPLACED).await, 0, "events of one account out of order");
        for role in ["accounts", "metering"] {
            let dead = count(&parts.beside(role), "SELECT count(*) FROM dead_letter").await;
            assert_eq!(dead, 0, "dead letters of {role}");
        }
    }
}

async fn count(beside: &Beside, sql: &'static str) -> i64 {
    beside.count(sql).await.expect("the database can be read")
}
