//! Debian's aws-cli, which is version 2.

use std::process::Output;

use super::{BIG, Bench, NAMES, big, run, text};

/// Debian's, whatever else is on the path.
const AWS: &str = "/usr/bin/aws";

/// Parts of the smallest size, so that a file of some megabytes has several; few requests at once,
/// so that one follows another on its connection.
const CONFIG: &str = "[default]\nregion = us-east-1\nmax_attempts = 1\ns3 =\n  \
    addressing_style = path\n  max_concurrent_requests = 2\n  \
    multipart_threshold = 6MB\n  multipart_chunksize = 5MB\n";

impl Bench {
    async fn aws(&self, arguments: &[&str]) -> Output {
        let home = self.home();
        std::fs::create_dir_all(home.join(".aws")).expect("a folder");
        std::fs::write(home.join(".aws/config"), CONFIG).expect("a file");
        let settings = [
            ("AWS_ACCESS_KEY_ID", self.account.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", self.account.secret_key.as_str()),
        ];
        let all = [arguments, &["--endpoint-url", &self.account.endpoint]].concat();
        run(AWS, home, &settings, &all).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_cli_syncs_there_and_back() {
    let bench = Bench::start("aws-bucket").await;
    let there = ["s3", "sync", "--only-show-errors", "--delete", "out", "s3://aws-bucket"];
    let back = ["s3", "sync", "--only-show-errors", "--delete", "s3://aws-bucket", "back"];
    bench.aws(&there).await;
    let listing = text(&bench.aws(&["s3", "ls", "--recursive", "s3://aws-bucket"]).await);
    for name in NAMES {
        assert!(listing.lines().any(|line| line.ends_with(name)), "{name} in {listing}");
    }
    bench.aws(&back).await;
    bench.assert_synced().await;
    bench.change_files();
    bench.aws(&there).await;
    bench.aws(&back).await;
    bench.assert_synced().await;
    bench.aws(&["s3", "rb", "--force", "s3://aws-bucket"]).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_cli_sends_parts_reads_ranges_copies_and_signs() {
    let bench = Bench::start("aws-parts").await;
    bench.aws(&["s3", "cp", "--only-show-errors", "out/big.bin", "s3://aws-parts/"]).await;
    assert_eq!(bench.parts(BIG).await, 4, "it was sent in parts");
    let (big_path, copy_path) = ("s3://aws-parts/big.bin", "s3://aws-parts/copy/grün +.bin");
    bench.aws(&["s3", "cp", "--only-show-errors", big_path, copy_path]).await;
    assert_eq!(bench.parts("copy/grün +.bin").await, 4, "it was copied in parts");
    assert!(bench.object("copy/grün +.bin").await == big(), "the copy is as its source");
    let range = ["--range", "bytes=5242870-5242889", "range.bin"];
    let get = ["s3api", "get-object", "--bucket", "aws-parts", "--key", "big.bin"];
    bench.aws(&[&get[..], &range].concat()).await;
    let got = std::fs::read(bench.home().join("range.bin")).expect("a file");
    assert_eq!(got, big()[5_242_870..5_242_890]);
    let long = "k".repeat(1024);
    for key in ["/lead", "trail/", "../up", "a//b", "sp ace+%41", "🦀", &long] {
        let put = ["s3api", "put-object", "--bucket", "aws-parts", "--body", "out/plain.txt"];
        bench.aws(&[&put[..], &["--key", key]].concat()).await;
        assert_eq!(bench.object(key).await, b"content of plain.txt ", "{key}");
    }
    for key in ["big.bin", "sp ace+%41", "🦀"] {
        let url = text(&bench.aws(&["s3", "presign", &format!("s3://aws-parts/{key}")]).await);
        assert!(bench.follow(url.trim()).await == bench.object(key).await, "{key}: {url}");
    }
    bench
        .aws(&["s3", "mv", "--only-show-errors", "s3://aws-parts/🦀", "s3://aws-parts/moved %"])
        .await;
    assert_eq!(bench.object("moved %").await, b"content of plain.txt ");
    bench.aws(&["s3", "rm", "--only-show-errors", "s3://aws-parts/moved %"]).await;
    let keys = bench.objects().await;
    assert!(!keys.contains_key("moved %") && !keys.contains_key("🦀"), "{:?}", keys.keys());
    bench.stop().await;
}
