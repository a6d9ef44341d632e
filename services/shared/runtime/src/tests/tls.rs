use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::Code;

use super::authority::Authority;
use super::{PATIENCE, Process, Role, WRITES, call};
use crate::{ClientTls, Identity, Protocols, RoleChannel, ServerTls, remote};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

async fn served(identity: Identity, callers_ca: Option<PathBuf>) -> Process {
    let tls = ServerTls::load(identity, callers_ca, Protocols::Both).unwrap();
    Process::start_at(&Role::default(), (LOOPBACK, 0).into(), Some(Arc::new(tls))).await
}

fn caller(process: &Process, ca: PathBuf, identity: Option<Identity>) -> RoleChannel {
    let tls = ClientTls::load(ca, identity).unwrap();
    let url = format!("https://{}", process.address);
    remote(&[url], Some(Arc::new(tls))).unwrap()
}

#[tokio::test]
async fn both_sides_show_who_they_are_and_strangers_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(folder.path()), Authority::new(folder.path()));
    let (ca, other_ca) = (ours.write("ca.crt"), theirs.write("other.crt"));
    let process = served(ours.sign("server"), Some(ca.clone())).await;
    let call = async |ca: &PathBuf, identity| {
        call(&caller(&process, ca.clone(), identity), WRITES, 10).await.code()
    };
    assert_eq!(call(&ca, Some(ours.sign("caller"))).await, Code::AlreadyExists);
    // Whether a stranger's call was sent before he was turned away is not known to him.
    let refused = [Code::Unavailable, Code::Unknown];
    assert!(refused.contains(&call(&ca, None).await), "no certificate");
    assert!(refused.contains(&call(&ca, Some(theirs.sign("stranger"))).await), "another's");
    let lured = call(&other_ca, Some(ours.sign("caller"))).await;
    assert_eq!(lured, Code::Unavailable, "the server is another's");
    let plain = remote(&[process.url()], None).unwrap();
    assert!(refused.contains(&super::call(&plain, WRITES, 10).await.code()), "in the clear");
    process.end().await;
}

#[tokio::test]
async fn files_that_change_are_read_again_and_bad_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(folder.path()), Authority::new(folder.path()));
    let (old_ca, new_ca) = (old.write("old.crt"), new.write("new.crt"));
    let identity = old.sign("server");
    let process = served(identity.clone(), None).await;
    let code =
        async |ca: &PathBuf| call(&caller(&process, ca.clone(), None), WRITES, 1).await.code();
    assert_eq!(code(&old_ca).await, Code::AlreadyExists);
    std::fs::write(&identity.cert, "no certificate").unwrap();
    let until = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < until {
        assert_eq!(code(&old_ca).await, Code::AlreadyExists);
    }
    new.sign("server");
    let begun = Instant::now();
    while code(&new_ca).await != Code::AlreadyExists {
        assert!(begun.elapsed() < PATIENCE, "the new certificate is shown");
    }
    assert_eq!(code(&old_ca).await, Code::Unavailable);
    process.end().await;
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path());
    let (one, other) = (ours.sign("one"), ours.sign("other"));
    let mixed = Identity { cert: one.cert.clone(), key: other.key.clone() };
    let absent = Identity { cert: folder.path().join("absent"), key: one.key.clone() };
    let swapped = Identity { cert: one.key.clone(), key: one.cert.clone() };
    for (identity, named) in
        [(mixed, &one.cert), (absent.clone(), &absent.cert), (swapped, &one.key)]
    {
        let error = ServerTls::load(identity.clone(), None, Protocols::Both).unwrap_err();
        assert_eq!(&error.path, named, "{error}");
        let ca = ours.write("ca.crt");
        assert!(ClientTls::load(ca, Some(identity)).is_err());
    }
    assert!(ClientTls::load(one.key.clone(), None).is_err(), "a key is no authority");
}
