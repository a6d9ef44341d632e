use std::os::unix::fs::PermissionsExt;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::{any, proptest};
use stowage_types::{Clock as _, ExposeSecret as _, FakeClock, SecretString, SystemRandom};
use time::macros::datetime;

use super::*;

const RULES: Rules =
    Rules { usable_after: Duration::from_secs(10), retire_after: Duration::from_secs(60) };

fn ring() -> (tempfile::TempDir, PathBuf, Keyring) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.keys");
    let ring = Keyring::load_or_create(&path, &SystemRandom).unwrap();
    (folder, path, ring)
}

/// One file and one clock for several processes.
struct Kit {
    _folder: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<FakeClock>,
}

impl Kit {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.keys");
        let clock = Arc::new(FakeClock::at(datetime!(2026-11-25 09:00 UTC)));
        Self { _folder: folder, path, clock }
    }

    /// A process.
    fn open(&self) -> Keyring {
        self.open_from(Source::File(self.path.clone())).unwrap()
    }

    fn open_from(&self, source: Source) -> Result<Keyring, Error> {
        Keyring::open_source(source, RULES, self.clock.clone(), &SystemRandom)
    }
}

fn numbers(ring: &Keyring) -> Vec<u32> {
    ring.versions().iter().map(|key| key.version).collect()
}

/// A line of a text, its key made of one digit.
fn line(version: u32, digit: &str) -> String {
    format!("{version} {}\n", digit.repeat(64))
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

#[test]
fn a_secret_survives_a_restart_and_a_rotation() {
    let kit = Kit::new();
    let ring = kit.open();
    let sealed = ring.seal(&secret("hush"), "access_key/AK1").unwrap();
    assert_eq!(ring.rotate(&SystemRandom).unwrap().version, 2);

    kit.clock.advance(RULES.usable_after);
    let again = kit.open();
    assert_eq!(numbers(&again), [1, 2]);
    assert_eq!(again.open(&sealed, "access_key/AK1").unwrap().expose_secret(), "hush");

    let moved = again.rewrap(&sealed, "access_key/AK1").unwrap().unwrap();
    assert_eq!(moved[..HEADER_BYTES], again.header());
    assert_eq!(version_of(&moved).unwrap(), 2);
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
        (&format!("1 {hex} tomorrow"), "RFC 3339"),
        (&format!("1 {hex} 2026-11-25T09:00:00Z x"), "more"),
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
    let kit = Kit::new();
    let two = kit.open();
    two.rotate(&SystemRandom).unwrap();
    kit.clock.advance(RULES.usable_after);
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

#[test]
fn a_new_version_is_known_to_all_before_anything_is_sealed_under_it() {
    let kit = Kit::new();
    let (one, other) = (kit.open(), kit.open());
    let made = one.rotate(&SystemRandom).unwrap();
    assert_eq!(made.usable_time, Some(kit.clock.now() + RULES.usable_after));
    assert_eq!((one.sealing_version(), numbers(&one)), (1, vec![1, 2]));
    // A repeat within that time is the same rotation.
    assert_eq!(one.rotate(&SystemRandom).unwrap(), made);
    assert_eq!(numbers(&other), [1]);
    assert!(other.refresh().unwrap(), "the file has changed");
    assert!(!other.refresh().unwrap(), "and not since");
    assert_eq!((other.sealing_version(), numbers(&other)), (1, vec![1, 2]));
    kit.clock.advance(RULES.usable_after);
    assert_eq!((one.sealing_version(), other.sealing_version()), (2, 2));
    assert_eq!(kit.open().versions(), one.versions(), "the time is in the file");
}

#[test]
fn a_version_that_is_not_known_yet_is_looked_for_once() {
    let kit = Kit::new();
    let (one, late) = (kit.open(), kit.open());
    one.rotate(&SystemRandom).unwrap();
    kit.clock.advance(RULES.usable_after);
    let sealed = one.seal(&secret("hush"), "b").unwrap();
    assert_eq!(late.open(&sealed, "b").unwrap().expose_secret(), "hush");
    let foreign = [&[1, 0, 0, 0, 9][..], &sealed[HEADER_BYTES..]].concat();
    assert!(matches!(late.open(&foreign, "b"), Err(Error::UnknownVersion { version: 9 })));
}

#[test]
fn a_version_is_retired_once_nobody_can_seal_under_it_and_then_opens_nothing() {
    let kit = Kit::new();
    let (ring, other) = (kit.open(), kit.open());
    let sealed = ring.seal(&secret("hush"), "b").unwrap();
    assert!(matches!(ring.retire(1), Err(Error::Sealing { version: 1 })));
    assert!(matches!(ring.retire(7), Err(Error::UnknownVersion { version: 7 })));
    ring.rotate(&SystemRandom).unwrap();
    assert!(matches!(ring.retire(1), Err(Error::Sealing { version: 1 })));
    kit.clock.advance(RULES.usable_after);
    let Err(Error::TooEarly { version: 1, after }) = ring.retire(1) else {
        panic!("a call under way may seal under it")
    };
    assert_eq!(after, kit.clock.now() + RULES.retire_after);
    let moved = ring.rewrap(&sealed, "b").unwrap().unwrap();
    kit.clock.set(after);
    ring.retire(1).unwrap();
    assert!(matches!(ring.retire(2), Err(Error::Sealing { version: 2 })), "the last one stays");
    assert!(other.refresh().unwrap());
    for ring in [&ring, &other, &kit.open()] {
        assert_eq!(numbers(ring), [2]);
        assert!(matches!(ring.open(&sealed, "b"), Err(Error::UnknownVersion { version: 1 })));
        assert_eq!(ring.open(&moved, "b").unwrap().expose_secret(), "hush");
    }
}

#[test]
fn the_file_stays_private_and_whole_through_every_change() {
    let kit = Kit::new();
    let ring = kit.open();
    let new = kit.path.with_extension("new");
    // The left-over of a crash, open to all.
    std::fs::write(&new, "half a").unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o666)).unwrap();
    ring.rotate(&SystemRandom).unwrap();
    kit.clock.advance(RULES.usable_after + RULES.retire_after);
    let mode = || std::fs::metadata(&kit.path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(), new.exists()), (0o600, false));
    ring.retire(1).unwrap();
    assert_eq!((mode(), new.exists()), (0o600, false));
    // What cannot be written changes nothing.
    std::fs::create_dir(&new).unwrap();
    assert!(matches!(ring.rotate(&SystemRandom), Err(Error::Io { doing: "write", .. })));
    assert_eq!((numbers(&ring), numbers(&kit.open())), (vec![2], vec![2]));
}

#[test]
fn two_who_rotate_at_once_lose_neither_key() {
    let kit = Kit::new();
    let rings: Vec<_> = (0..4).map(|_| kit.open()).collect();
    std::thread::scope(|scope| {
        for ring in &rings {
            scope.spawn(|| ring.rotate(&SystemRandom).unwrap());
        }
    });
    assert_eq!(numbers(&kit.open()), [1, 2], "they are one rotation");
    assert!(rings.iter().all(|ring| numbers(ring) == [1, 2]));
}

#[test]
fn a_source_that_became_unusable_leaves_the_keys_of_before_in_use() {
    let kit = Kit::new();
    let ring = kit.open();
    let sealed = ring.seal(&secret("hush"), "b").unwrap();
    for (text, why) in [("nonsense", "no version"), (&line(1, "a"), "has become another key")] {
        std::fs::write(&kit.path, text).unwrap();
        let error = ring.refresh().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!ring.refresh().unwrap(), "told once");
        assert_eq!(ring.open(&sealed, "b").unwrap().expose_secret(), "hush");
    }
    std::fs::remove_file(&kit.path).unwrap();
    assert!(matches!(ring.refresh(), Err(Error::Io { doing: "read", .. })));
    assert_eq!(ring.open(&sealed, "b").unwrap().expose_secret(), "hush");
}

#[test]
fn keys_from_the_environment_and_from_a_command_are_those_of_a_file() {
    let kit = Kit::new();
    let text = line(1, "a") + &line(3, "b");
    std::fs::write(&kit.path, &text).unwrap();
    std::fs::set_permissions(&kit.path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let sealed = kit.open().seal(&secret("hush"), "b").unwrap();
    let cat = vec!["cat".to_owned(), kit.path.display().to_string()];
    for (source, origin) in
        [(Source::Text(secret(&text)), "the environment"), (Source::Command(cat), "a command")]
    {
        let told = format!("{source:?}");
        assert!(!told.contains("aaaa"), "{told}");
        let ring = kit.open_from(source).unwrap();
        assert_eq!(ring.open(&sealed, "b").unwrap().expose_secret(), "hush", "{origin}");
        for error in [ring.rotate(&SystemRandom).unwrap_err(), ring.retire(1).unwrap_err()] {
            assert!(matches!(error, Error::ReadOnly { origin: o } if o == origin), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&kit.path).unwrap(), text);
    }
    let error = kit.open_from(Source::Text(secret("1 beef"))).unwrap_err().to_string();
    assert!(error.contains("STOWAGE_KEYRING") && !error.contains("beef"), "{error}");
}

#[test]
fn a_command_is_asked_again_for_a_version_that_is_not_known() {
    let kit = Kit::new();
    std::fs::write(&kit.path, line(1, "a")).unwrap();
    let cat = vec!["cat".to_owned(), kit.path.display().to_string()];
    let ring = kit.open_from(Source::Command(cat)).unwrap();
    let both = line(1, "a") + &line(2, "b");
    let sealed = kit.open_from(Source::Text(secret(&both))).unwrap();
    let sealed = sealed.seal(&secret("hush"), "b").unwrap();
    std::fs::write(&kit.path, &both).unwrap();
    assert_eq!(ring.open(&sealed, "b").unwrap().expose_secret(), "hush");
    assert_eq!(ring.sealing_version(), 2);
}

#[test]
fn a_command_that_fails_lasts_or_floods_is_named_and_ended() {
    let kit = Kit::new();
    let run = |words: &[&str]| {
        let words = words.iter().map(ToString::to_string).collect::<Vec<_>>();
        command::run(&words, Duration::from_millis(300)).unwrap_err().to_string()
    };
    let begun = Instant::now();
    for (words, why) in [
        (&["/no/such/program"][..], "cannot be run"),
        (&["false"], "exit code 1"),
        (&["sleep", "60"], "did not end within"),
        // Its output never ends.
        (&["yes"], "more than"),
        // A grandchild keeps the pipe.
        (&["sh", "-c", "sleep 2 2>/dev/null & exit 0"], "did not end within"),
        (&["head", "-c", "70000", "/dev/zero"], "more than"),
        (&["printf", r"\377"], "no text"),
    ] {
        let error = run(words);
        assert!(error.contains(why), "{words:?}: {error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let error = kit.open_from(Source::Command(vec![])).unwrap_err().to_string();
    assert!(error.contains("is empty"), "{error}");
}
