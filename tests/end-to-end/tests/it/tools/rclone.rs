//! Debian's rclone.

use std::process::Output;

use super::{BIG, Bench, NAMES, big, run, text};

/// Objects of the largest sync.
const MANY: usize = 10_000;

impl Bench {
    async fn rclone(&self, arguments: &[&str]) -> Output {
        let account = &self.account;
        let settings = [
            ("RCLONE_CONFIG_S_TYPE", "s3"),
            ("RCLONE_CONFIG_S_PROVIDER", "Other"),
            ("RCLONE_CONFIG_S_ENDPOINT", account.endpoint.as_str()),
            ("RCLONE_CONFIG_S_ACCESS_KEY_ID", account.access_key.as_str()),
            ("RCLONE_CONFIG_S_SECRET_ACCESS_KEY", account.secret_key.as_str()),
            ("RCLONE_CONFIG_S_CHUNK_SIZE", "5M"),
            ("RCLONE_CONFIG_S_UPLOAD_CUTOFF", "6M"),
            ("RCLONE_CONFIG_S_COPY_CUTOFF", "6M"),
            // One try of each: what works only at the tenth does not work.
            ("RCLONE_RETRIES", "1"),
            ("RCLONE_LOW_LEVEL_RETRIES", "1"),
        ];
        run("rclone", self.home(), &settings, arguments).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_syncs_there_and_back() {
    let bench = Bench::start("rclone-bucket").await;
    bench.rclone(&["sync", "out", "s:rclone-bucket"]).await;
    bench.rclone(&["check", "--download", "out", "s:rclone-bucket"]).await;
    let listing = text(&bench.rclone(&["lsf", "-R", "--files-only", "s:rclone-bucket"]).await);
    for name in NAMES {
        assert!(listing.lines().any(|line| line == *name), "{name} in {listing}");
    }
    bench.rclone(&["sync", "s:rclone-bucket", "back"]).await;
    bench.assert_synced().await;
    bench.change_files();
    bench.rclone(&["sync", "out", "s:rclone-bucket"]).await;
    bench.rclone(&["sync", "s:rclone-bucket", "back"]).await;
    bench.assert_synced().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_sends_parts_reads_ranges_copies_and_signs() {
    let bench = Bench::start("rclone-parts").await;
    bench.rclone(&["copy", "out", "s:rclone-parts"]).await;
    assert_eq!(bench.parts(BIG).await, 4, "it was sent in parts");
    bench.rclone(&["copyto", "s:rclone-parts/big.bin", "s:rclone-parts/copy/big ü.bin"]).await;
    assert_eq!(bench.parts("copy/big ü.bin").await, 3, "it was copied in parts");
    assert!(bench.object("copy/big ü.bin").await == big(), "the copy is as its source");
    let cat = ["cat", "--offset", "5242870", "--count", "20", "s:rclone-parts/big.bin"];
    assert_eq!(bench.rclone(&cat).await.stdout, big()[5_242_870..5_242_890]);
    for name in ["big.bin", "sp ace+plus.txt", "%41%2f%2525.txt", "Grüße/Öl 🦀🧡.txt"] {
        let path = format!("s:rclone-parts/{name}");
        let url = text(&bench.rclone(&["link", "--expire", "1h", &path]).await);
        assert!(bench.follow(url.trim()).await == bench.object(name).await, "{name}: {url}");
    }
    bench.rclone(&["moveto", "s:rclone-parts/plain.txt", "s:rclone-parts/moved+ 1%.txt"]).await;
    bench.rclone(&["deletefile", "s:rclone-parts/100%.txt"]).await;
    let listing = text(&bench.rclone(&["lsf", "s:rclone-parts"]).await);
    assert!(listing.contains("moved+ 1%.txt") && !listing.contains("plain.txt"), "{listing}");
    assert!(!listing.contains("100%"), "{listing}");
    bench.rclone(&["mkdir", "s:rclone-second"]).await;
    bench.rclone(&["purge", "s:rclone-parts"]).await;
    let buckets = text(&bench.rclone(&["lsd", "s:"]).await);
    assert!(buckets.contains("rclone-second") && !buckets.contains("rclone-parts"), "{buckets}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_syncs_ten_thousand_objects() {
    let bench = Bench::start("rclone-many").await;
    let many = bench.home().join("many");
    for n in 0..MANY {
        let folder = many.join(format!("{:02}", n % 50));
        if n < 50 {
            std::fs::create_dir_all(&folder).expect("a folder");
        }
        std::fs::write(folder.join(format!("{n:05}")), n.to_string()).expect("a file");
    }
    // Without times of its own, which would take a request for each object.
    let quick = ["--transfers", "16", "--checkers", "16", "--fast-list", "--size-only"];
    let sync = |from, to| [&["sync", from, to], &quick[..]].concat();
    bench.rclone(&sync("many", "s:rclone-many")).await;
    let listing = text(&bench.rclone(&["lsf", "-R", "--files-only", "s:rclone-many"]).await);
    assert_eq!(listing.lines().count(), MANY);
    let check = ["check", "--size-only", "--fast-list", "many", "s:rclone-many"];
    bench.rclone(&check).await;
    // What goes is gone on the other side as well, and nothing else is.
    for n in (0..MANY).step_by(100) {
        std::fs::remove_file(many.join(format!("{:02}/{n:05}", n % 50))).expect("it is there");
    }
    bench.rclone(&sync("many", "s:rclone-many")).await;
    let listing = text(&bench.rclone(&["lsf", "-R", "--files-only", "s:rclone-many"]).await);
    assert_eq!(listing.lines().count(), MANY - MANY / 100);
    bench.stop().await;
}
