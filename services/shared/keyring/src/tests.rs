use std::os::unix::fs::PermissionsExt;

use proptest::prelude::{any, proptest};
use stowage_types::SystemRandom;

use super::*;

fn ring() -> (tempfile::TempDir, std::path::PathBuf, Keyring) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.keys");
    let ring = Keyring::load_or_create(&path, &SystemRandom).unwrap();
    (folder, path, ring)
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

#[test]
fn a_secret_survives_a_restart_and_a_rotation() {
    let (_folder, path, mut ring) = ring();
    let sealed = ring.seal(&secret("hush"), "access_key/AK1").unwrap();
    assert_eq!(ring.rotate(&path, &SystemRandom).unwrap(), 2);

    let again = Keyring::load_or_create(&path, &SystemRandom).unwrap();
    assert_eq!(again.versions(), [1, 2]);
    assert_eq!(again.open(&sealed, "access_key/AK1").unwrap().expose_secret(), "hush");

    let moved = again.rewrap(&sealed, "access_key/AK1").unwrap().unwrap();
    assert_eq!(moved[1..5], [0, 0, 0, 2]);
    assert_eq!(again.open(&moved, "access_key/AK1").unwrap().expose_secret(), "hush");
    assert!(again.rewrap(&moved, "access_key/AK1").unwrap().is_none());
}

#[test]
fn another_binding_or_a_changed_byte_is_refused() {
    let (_folder, _path, ring) = ring();
    let sealed = ring.seal(&secret("hush"), "access_key/AK1").unwrap();
    assert!(matches!(ring.open(&sealed, "access_key/AK2"), Err(Error::Refused)));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(ring.open(&changed, "access_key/AK1").is_err(), "byte {at}");
        assert!(ring.open(&sealed[..at], "access_key/AK1").is_err(), "length {at}");
    }
}

#[test]
fn the_same_secret_is_sealed_differently_each_time() {
    let (_folder, _path, ring) = ring();
    let one = ring.seal(&secret("hush"), "b").unwrap();
    assert_ne!(one, ring.seal(&secret("hush"), "b").unwrap());
    assert!(!one.windows(4).any(|part| part == b"hush"));
}

#[test]
fn the_file_is_private_and_a_shared_one_is_refused() {
    let (_folder, path, _ring) = ring();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = Keyring::load_or_create(&path, &SystemRandom).unwrap_err();
    assert!(matches!(error, Error::ReadableByOthers { mode: 0o640, .. }), "{error}");
}

#[test]
fn a_damaged_file_is_named_and_kept() {
    let (_folder, path, ring) = ring();
    let hex = "ab".repeat(32);
    let cases = [
        ("", "no key"),
        ("1", "no version"),
        ("x 00", "not a number"),
        ("1 00", "64 hex"),
        (&format!("2 {hex}\n1 {hex}"), "grow"),
    ];
    for (text, why) in cases {
        std::fs::write(&path, text).unwrap();
        let error = Keyring::load_or_create(&path, &SystemRandom).unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let debug = format!("{ring:?}");
    assert!(debug.contains("versions") && debug.len() < 60, "{debug}");
}

#[test]
fn a_record_under_an_unknown_key_says_so() {
    let (_folder, _path, one) = ring();
    let (_folder2, path, mut two) = ring();
    two.rotate(&path, &SystemRandom).unwrap();
    let sealed = two.seal(&secret("hush"), "b").unwrap();
    assert!(matches!(one.open(&sealed, "b"), Err(Error::UnknownVersion { version: 2 })));
    let foreign = one.seal(&secret("hush"), "b").unwrap();
    assert!(matches!(two.open(&foreign, "b"), Err(Error::Refused)));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes: Vec<u8>, text in any::<String>()) {
        let (_folder, _path, ring) = ring();
        assert!(ring.open(&bytes, &text).is_err());
        let sealed = ring.seal(&secret(&text), "b").unwrap();
        assert_eq!(ring.open(&sealed, "b").unwrap().expose_secret(), text);
    }
}
