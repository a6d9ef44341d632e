//! Kill -9 at any moment: what was acknowledged is there, whole, and nothing else remains.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::{AccountSpec, Engine};
use stowage_types::{BucketName, S3uid};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::kit::{Kit, blob_files, bytes, client, key_pair, open};

/// What the child looks for, so that it does nothing when it runs as a test of its own.
const MARK: &str = "child-of-the-crash-test";

/// The process that is killed. Serves in its working folder.
#[tokio::test]
async fn child() {
    let here = std::env::current_dir().unwrap();
    if !here.join(MARK).exists() {
        return;
    }
    let engine = open(&here.join("data")).await;
    let uid = S3uid::parse(&format!("{:032x}", 1)).unwrap();
    let spec = AccountSpec::new(uid.clone(), vec![key_pair(1)]);
    engine.ensure_account(&spec).await.unwrap();
    engine.create_bucket(&uid, &BucketName::new("crash").unwrap()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    std::fs::write(here.join("port.tmp"), port.to_string()).unwrap();
    std::fs::rename(here.join("port.tmp"), here.join("port")).unwrap();
    engine.serve(listener, None, CancellationToken::new()).await;
}

fn start_child(folder: &Path) -> Child {
    let _ = std::fs::remove_file(folder.join("port"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child"]).current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

async fn port(folder: &Path) -> u16 {
    for _ in 0..600 {
        if let Ok(text) = std::fs::read_to_string(folder.join("port")) {
            return text.parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the child does not serve");
}

#[tokio::test]
async fn acknowledged_objects_survive_being_killed() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(MARK), "").unwrap();
    let acknowledged: Arc<Mutex<HashMap<String, (usize, u32)>>> = Arc::default();
    for round in 0..3_u32 {
        let mut child = start_child(folder.path());
        let address = format!("127.0.0.1:{}", port(folder.path()).await).parse().unwrap();
        let s3 = client(address, &key_pair(1));
        let writers = (0..4_u32).map(|writer| {
            let (s3, acknowledged) = (s3.clone(), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                for n in 0..10_000_u32 {
                    // Some keys are overwritten, some sizes lie in the index.
                    let key = format!("{writer}/{}", n % 40);
                    let seed = round * 1_000_000 + writer * 100_000 + n;
                    let size = [100, 20_000, 1_300_000, 16_000][n as usize % 4];
                    acknowledged.lock().unwrap().remove(&key);
                    let put = s3.put_object().bucket("crash").key(&key);
                    if put.body(ByteStream::from(bytes(size, seed))).send().await.is_err() {
                        return;
                    }
                    acknowledged.lock().unwrap().insert(key, (size, seed));
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let enough = 30 + 7 * round as usize;
        for _ in 0..1200 {
            if acknowledged.lock().unwrap().len() >= enough {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
    }
    let engine = open(&folder.path().join("data")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let s3 = client(listener.local_addr().unwrap(), &key_pair(1));
    let stop = CancellationToken::new();
    let served = tokio::spawn(engine.serve(listener, None, stop.clone()));
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= 30, "only {} were acknowledged", acknowledged.len());
    for (key, (size, seed)) in &acknowledged {
        let got = s3.get_object().bucket("crash").key(key).send().await;
        let got = got.unwrap_or_else(|error| panic!("{key}: {error:?}"));
        let got = got.body.collect().await.unwrap().to_vec();
        assert!(got == bytes(*size, *seed), "{key} differs");
    }
    let listed = s3.list_objects_v2().bucket("crash").send().await.unwrap();
    let mut total = 0;
    for object in listed.contents() {
        let got = s3.get_object().bucket("crash").key(object.key().unwrap()).send().await.unwrap();
        total += got.body.collect().await.unwrap().to_vec().len() as u64;
    }
    let usage = engine.account_usage(&S3uid::parse(&format!("{:032x}", 1)).unwrap()).await.unwrap();
    assert_eq!((usage.stored_bytes, usage.object_count), (total, listed.contents().len() as u64));
    let large = listed.contents().iter().filter(|object| object.size() > Some(16 * 1024)).count();
    let files = blob_files(&folder.path().join("data"));
    assert_eq!(files.len(), large, "orphans among {files:?}");
    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn what_a_crash_leaves_is_swept_and_a_second_process_is_kept_out() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("swept").await;
    let body = bytes(50_000, 1);
    account.put("swept", "k", body.clone()).await.unwrap();
    let root = kit.folder.path().to_owned();
    let second = std::panic::AssertUnwindSafe(tokio::spawn(async move { open(&root).await }));
    assert!(second.0.await.is_err(), "two processes have the folder");
    let folder = kit.stop().await;
    let place = folder.path().join("blobs/00/11");
    std::fs::create_dir_all(&place).unwrap();
    for name in ["00112233445566778899aabbccddeeff", "00110000000000000000000000000000.tmp"] {
        std::fs::write(place.join(name), "left behind").unwrap();
    }
    drop(account);
    let kit = Kit::start_in(folder).await;
    assert_eq!(kit.files().len(), 1);
    let account = kit.account(1).await;
    assert_eq!(account.get("swept", "k").await.unwrap(), body);
}
