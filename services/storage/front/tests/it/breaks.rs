//! Either side goes away: the other hears of it, and what moved until then is counted.

use std::time::Duration;

use stowage_storage_front::FrontOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bare::{Bare, answer, closed, read_until};
use crate::kit::{Kit, Settings, forged, status};

#[tokio::test]
async fn an_upload_that_breaks_off_counts_as_far_as_it_went() {
    let kit = Kit::start().await;
    let account = kit.account().await;
    account.bucket("aborted").await;
    let url = account.presigned_put("aborted", "k").await;
    let stream = kit.send(&kit.head("PUT", &url, 1_000_000, ""), &vec![b'x'; 300_000]).await;
    let place = (account.uid.clone(), "aborted".to_owned());
    while kit.of_engine().await.get(&place).is_none_or(|sum| sum[0] < 300_000) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    kit.until(&account.uid, "aborted", [300_000, 0, 0, 1]).await;
    account.s3.head_object().bucket("aborted").key("k").send().await.unwrap_err();
}

#[tokio::test]
async fn an_upload_that_was_refused_is_nobodys_however_soon_its_client_goes() {
    let kit = Kit::start().await;
    let victim = kit.account().await;
    victim.bucket("robbed").await;
    let before = kit.sums().await;
    let url = victim.presigned_put("robbed", "k").await;
    let forged = forged(&url);
    for sent in [0, 1, 100_000] {
        drop(kit.send(&kit.head("PUT", &forged, 1_000_000, ""), &vec![b'x'; sent]).await);
    }
    // Of his own, an upload that goes away behind them is charged: theirs are decided by then.
    let own = victim.presigned_put("robbed", "k").await;
    drop(kit.send(&kit.head("PUT", &own, 1_000_000, ""), b"12345").await);
    kit.until(&victim.uid, "robbed", [5, 0, 0, 1]).await;
    assert_eq!(kit.sum(&victim.uid, "").await, before[&(victim.uid.clone(), String::new())]);
}

#[tokio::test]
async fn a_client_that_goes_ends_the_request_at_the_engine() {
    let bare = Bare::start().await;
    let kit = Kit::before(bare.address).await;
    let account = kit.account().await;
    let url = account.presigned_put("far", "k").await;
    let stream = kit.send(&kit.head("PUT", &url, 1000, ""), b"12345").await;
    let (mut engine, _) = bare.accept().await;
    assert_eq!(read_until(&mut engine, "5").await, "12345");
    drop(stream);
    closed(&mut engine).await;
    // The account has no such bucket there: it is counted without one.
    kit.until(&account.uid, "", [5, 0, 0, 1]).await;
    // One whose body is whole waits for its answer alone.
    let url = account.presigned_get("far", "k").await;
    let stream = kit.send(&kit.head("GET", &url, 0, ""), b"").await;
    let (mut engine, _) = bare.accept().await;
    drop(stream);
    answer(&mut engine, "403 Forbidden", 0, 0).await;
    kit.until(&account.uid, "", [5, 0, 0, 1]).await;
}

#[tokio::test]
async fn a_download_that_breaks_off_counts_as_far_as_it_went() {
    let bare = Bare::start().await;
    let kit = Kit::before(bare.address).await;
    let account = kit.account().await;
    let url = account.presigned_get("far", "k").await;
    // The client goes.
    let mut stream = kit.send(&kit.head("GET", &url, 0, ""), b"").await;
    let (mut engine, _) = bare.accept().await;
    answer(&mut engine, "200 OK", 1_000_000, 100_000).await;
    read_until(&mut stream, "\r\n\r\n").await;
    stream.read_exact(&mut vec![0; 100_000]).await.unwrap();
    drop(stream);
    closed(&mut engine).await;
    kit.until(&account.uid, "", [0, 100_000, 1, 0]).await;
    // The engine goes: the client must not take it for the whole.
    let mut stream = kit.send(&kit.head("GET", &url, 0, ""), b"").await;
    let (mut engine, _) = bare.accept().await;
    answer(&mut engine, "200 OK", 1_000_000, 50_000).await;
    drop(engine);
    read_until(&mut stream, "\r\n\r\n").await;
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest).await;
    assert!(ended.is_err() || rest.len() == 50_000, "{}", rest.len());
    kit.until(&account.uid, "", [0, 150_000, 2, 0]).await;
}

#[tokio::test]
async fn an_engine_that_breaks_off_before_it_answers_is_away_and_nobody_pays() {
    let bare = Bare::start().await;
    let kit = Kit::before(bare.address).await;
    let account = kit.account().await;
    let url = account.presigned_put("far", "k").await;
    let mut stream = kit.send(&kit.head("PUT", &url, 100_000, ""), b"12345").await;
    let (engine, _) = bare.accept().await;
    drop(engine);
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert_eq!(status(&told), 503, "{told}");
    assert!(told.contains("<Code>ServiceUnavailable</Code>"), "{told}");
    assert!(kit.sums().await.is_empty());
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_as_s3_tells_it() {
    let bare = Bare::start().await;
    let address = bare.address;
    drop(bare);
    let kit = Kit::before(address).await;
    let account = kit.account().await;
    for method in ["GET", "PUT", "HEAD"] {
        let url = account.presigned_get("far", "k").await;
        let told = kit.raw(&kit.head(method, &url, 0, ""), b"").await.to_lowercase();
        assert_eq!(status(&told), 503, "{told}");
        assert!(told.contains("\r\nretry-after: 1\r\n"), "{told}");
        assert_eq!(told.contains("<code>serviceunavailable</code>"), method != "HEAD", "{told}");
    }
    assert!(kit.sums().await.is_empty());
}

fn patient_for(upstream: std::net::SocketAddr, ms: u64) -> Settings {
    let mut options = FrontOptions::new(format!("http://{upstream}"));
    options.idle_timeout = Duration::from_millis(ms);
    options.answer_timeout = Duration::from_millis(ms);
    Settings { options, ..Settings::default() }
}

async fn all_of(mut stream: TcpStream) -> String {
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told).await;
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let bare = Bare::start().await;
    let kit = Kit::with(patient_for(bare.address, 200)).await;
    let account = kit.account().await;
    // The client sends nothing more.
    let url = account.presigned_put("far", "k").await;
    let stream = kit.send(&kit.head("PUT", &url, 1000, ""), b"12345").await;
    let (mut engine, _) = bare.accept().await;
    let told = all_of(stream).await;
    assert!(status(&told) == 400 && told.contains("<Code>RequestTimeout</Code>"), "{told}");
    closed(&mut engine).await;
    // The engine does not answer.
    let url = account.presigned_get("far", "k").await;
    let stream = kit.send(&kit.head("GET", &url, 0, ""), b"").await;
    let (mut engine, _) = bare.accept().await;
    let told = all_of(stream).await;
    assert!(status(&told) == 503 && told.contains("in time"), "{told}");
    closed(&mut engine).await;
    // It answers half.
    let stream = kit.send(&kit.head("GET", &url, 0, ""), b"").await;
    let (mut engine, _) = bare.accept().await;
    answer(&mut engine, "200 OK", 1000, 10).await;
    let told = all_of(stream).await;
    assert!(status(&told) == 200 && told.ends_with("yyyyyyyyyy"), "{told}");
    closed(&mut engine).await;
    // Of the first it was not refused; of the second nothing is known.
    kit.until(&account.uid, "", [5, 10, 1, 1]).await;
}

#[tokio::test]
async fn what_the_engine_does_not_take_is_not_read() {
    let bare = Bare::start().await;
    let kit = Kit::before(bare.address).await;
    let account = kit.account().await;
    let url = account.presigned_put("far", "k").await;
    let length = 1 << 30;
    let mut stream = kit.send(&kit.head("PUT", &url, length, ""), b"").await;
    let (engine, _) = bare.accept().await;
    let (mut sent, chunk) = (0_usize, vec![b'x'; 1 << 16]);
    let half = Duration::from_millis(500);
    while let Ok(written) = tokio::time::timeout(half, stream.write_all(&chunk)).await {
        written.unwrap();
        sent += chunk.len();
        assert!(sent < 128 << 20, "all of it is gathered somewhere");
    }
    drop((stream, engine));
}
