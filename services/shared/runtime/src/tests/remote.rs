use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use stowage_proto::common::ErrorReason;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use super::{PATIENCE, Process, READS, Role, WRITES, call, call_named};
use crate::{RoleChannel, reason_of, remote};

fn channel(urls: &[String]) -> RoleChannel {
    remote(urls, None).unwrap()
}

/// An address that nobody listens at.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_dead_address_is_left_out_and_calls_are_spread_over_the_others() {
    let (one, other) = (Role::gated(), Role::gated());
    let (first, second) = (Process::start(&one).await, Process::start(&other).await);
    let channel = channel(&[nowhere().await, first.url(), second.url()]);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call(&channel, WRITES, 10).await.code() })
        })
        .collect();
    let spread = async {
        while one.calls() + other.calls() < 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, spread).await.unwrap();
    assert!(one.calls() >= 8 && other.calls() >= 8, "{} {}", one.calls(), other.calls());
    for role in [&one, &other] {
        role.gate.as_ref().unwrap().add_permits(20);
    }
    for call in calls {
        assert_eq!(
            tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap(),
            Code::AlreadyExists
        );
    }
    first.end().await;
    second.end().await;
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_executed_and_the_caller_is_told() {
    let channel = channel(&[nowhere().await, nowhere().await]);
    for method in [READS, WRITES] {
        let status = call(&channel, method, 10).await;
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(reason_of(&status), Some(ErrorReason::Unavailable));
        assert!(!status.message().contains("127.0.0.1"), "{status:?}");
    }
}

#[tokio::test]
async fn a_call_waits_for_an_address_that_is_just_starting() {
    let url = nowhere().await;
    let channel = channel(std::slice::from_ref(&url));
    let role = Role::default();
    let waiting = tokio::spawn(async move { call(&channel, WRITES, 10).await.code() });
    let at = url.trim_start_matches("http://").parse().unwrap();
    let process = Process::start_at(&role, at, None).await;
    assert_eq!(waiting.await.unwrap(), Code::AlreadyExists);
    process.end().await;
}

/// What callers were told while two processes were restarted in turn, and how often the role ran.
struct Told {
    answered: usize,
    unclear: usize,
    executed: usize,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Reads,
    Writes,
    /// Under a request id.
    Named,
}

impl Load {
    async fn call(self, channel: &RoleChannel) -> Status {
        match self {
            Self::Reads => call(channel, READS, 100).await,
            Self::Writes => call(channel, WRITES, 100).await,
            Self::Named => call_named(channel).await,
        }
    }
}

async fn restart_under_load(load: Load) -> Told {
    let role = Role::default();
    let mut processes = vec![Process::start(&role).await, Process::start(&role).await];
    let urls: Vec<_> = processes.iter().map(Process::url).collect();
    let channel = channel(&urls);
    let is_over = Arc::new(AtomicBool::new(false));
    let (answered, unclear) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (channel, is_over) = (channel.clone(), Arc::clone(&is_over));
            let (answered, unclear) = (Arc::clone(&answered), Arc::clone(&unclear));
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    let status = load.call(&channel).await;
                    match reason_of(&status) {
                        Some(ErrorReason::ConnectionBroken) => {
                            unclear.fetch_add(1, Ordering::SeqCst)
                        }
                        reason => {
                            assert_eq!((status.code(), reason), (Code::AlreadyExists, None));
                            answered.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                }
            })
        })
        .collect();
    for _ in 0..10 {
        let (before, first) = (answered.load(Ordering::SeqCst), processes.remove(0));
        let at = first.address;
        first.end().await;
        processes.push(Process::start_at(&role, at, None).await);
        let goes_on = async {
            while answered.load(Ordering::SeqCst) < before + 200 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, goes_on).await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let (answered, unclear) = (answered.load(Ordering::SeqCst), unclear.load(Ordering::SeqCst));
    Told { answered, unclear, executed: role.calls() }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_restarted_in_turn_under_load_fail_no_call_that_may_be_repeated() {
    for load in [Load::Reads, Load::Named] {
        let told = restart_under_load(load).await;
        assert_eq!(told.unclear, 0, "{load:?}: of {}", told.answered);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_restarted_in_turn_under_load_execute_no_call_twice() {
    let told = restart_under_load(Load::Writes).await;
    let Told { answered, unclear, executed } = told;
    assert!((answered..=answered + unclear).contains(&executed), "{answered} {unclear} {executed}");
    // Each caller may meet each of the ten restarts once.
    assert!(unclear <= 8 * 10, "few are unclear: {unclear} of {answered}");
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_call_is_told_apart() {
    for (method, expected) in [(WRITES, Code::Unknown), (READS, Code::AlreadyExists)] {
        let (stuck, good) = (Role::gated(), Role::default());
        let process = Process::start(&stuck).await;
        let alone = channel(&[process.url()]);
        let other = Process::start(&good).await;
        // The first call goes to the first address: all are equally busy.
        let both = channel(&[process.url(), other.url()]);
        let through = if expected == Code::Unknown { alone } else { both };
        let calling = tokio::spawn(async move { call(&through, method, 10).await });
        tokio::time::timeout(PATIENCE, stuck.began.notified()).await.unwrap();
        // It is cut off, since it does not end in time.
        process.end().await;
        let status = calling.await.unwrap();
        assert_eq!(status.code(), expected, "{method} {status:?}");
        if expected == Code::Unknown {
            assert_eq!(reason_of(&status), Some(ErrorReason::ConnectionBroken));
        }
        assert_eq!(stuck.calls(), 1, "{method}");
        other.end().await;
    }
}

#[tokio::test]
async fn a_repeat_waits_for_the_end_of_its_first_attempt() {
    let (stuck, role) = (Role::gated(), Role::default());
    let process = Process::start(&stuck).await;
    let other = Process::start(&role).await;
    let channel = channel(&[process.url(), other.url()]);
    role.under_way.store(3, Ordering::SeqCst);
    let plain = call_named(&channel);
    let calling = tokio::spawn({
        let channel = channel.clone();
        async move { call_named(&channel).await }
    });
    tokio::time::timeout(PATIENCE, stuck.began.notified()).await.unwrap();
    process.end().await;
    let status = tokio::time::timeout(PATIENCE, calling).await.unwrap().unwrap();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    assert_eq!((stuck.calls(), role.calls()), (1, 4));
    // Whoever meets it at once is told so.
    role.under_way.store(1, Ordering::SeqCst);
    assert_eq!(reason_of(&plain.await), Some(ErrorReason::RequestInProgress));
    other.end().await;
}

#[tokio::test]
async fn what_is_too_long_or_no_address_is_refused() {
    let process = Process::start(&Role::default()).await;
    let channel = channel(&[process.url()]);
    assert_eq!(call(&channel, WRITES, 4 * 1024 * 1024).await.code(), Code::AlreadyExists);
    assert_eq!(call(&channel, WRITES, 4 * 1024 * 1024 + 1).await.code(), Code::OutOfRange);
    for url in ["", "here", "http://here", "ftp://here:1", "http://here:1/path", "https://here:1"] {
        assert!(remote(&[url.to_owned()], None).is_err(), "{url}");
    }
    process.end().await;
}
