//! Debian's s3cmd.

use std::process::Output;

use super::{BIG, Bench, NAMES, big, run, text};

impl Bench {
    /// Writes the settings of s3cmd.
    fn configure_s3cmd(&self) {
        let account = &self.account;
        let host = account.endpoint.trim_start_matches("http://").trim_end_matches('/');
        let config = format!(
            "[default]\naccess_key = {}\nsecret_key = {}\nhost_base = {host}\n\
             host_bucket = {host}\nuse_https = False\nsignurl_use_https = False\n\
             multipart_chunk_size_mb = 5\nmax_retries = 1\n",
            account.access_key, account.secret_key,
        );
        std::fs::write(self.home().join(".s3cfg"), config).expect("a file");
    }

    async fn s3cmd(&self, arguments: &[&str]) -> Output {
        run("s3cmd", self.home(), &[], &[&["--no-progress"], arguments].concat()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3cmd_syncs_there_and_back() {
    let bench = Bench::start("s3cmd-bucket").await;
    bench.configure_s3cmd();
    let there = ["sync", "--delete-removed", "out/", "s3://s3cmd-bucket/"];
    let back = ["sync", "--delete-removed", "s3://s3cmd-bucket/", "back/"];
    bench.s3cmd(&there).await;
    let listing = text(&bench.s3cmd(&["ls", "-r", "s3://s3cmd-bucket"]).await);
    for name in NAMES {
        let line = format!("s3://s3cmd-bucket/{name}");
        assert!(listing.lines().any(|found| found.ends_with(&line)), "{name} in {listing}");
    }
    bench.s3cmd(&back).await;
    bench.assert_synced().await;
    bench.change_files();
    bench.s3cmd(&there).await;
    bench.s3cmd(&back).await;
    bench.assert_synced().await;
    bench.s3cmd(&["del", "--recursive", "--force", "s3://s3cmd-bucket"]).await;
    bench.s3cmd(&["rb", "s3://s3cmd-bucket"]).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3cmd_sends_parts_goes_on_copies_and_signs() {
    let bench = Bench::start("s3cmd-parts").await;
    bench.configure_s3cmd();
    bench.s3cmd(&["put", "out/big.bin", "s3://s3cmd-parts/"]).await;
    assert_eq!(bench.parts(BIG).await, 4, "it was sent in parts");
    // What was broken off goes on where it was: a range to the end.
    std::fs::write(bench.home().join("rest.bin"), &big()[..6_000_000]).expect("a file");
    bench.s3cmd(&["get", "--continue", "s3://s3cmd-parts/big.bin", "rest.bin"]).await;
    assert!(std::fs::read(bench.home().join("rest.bin")).expect("a file") == big());
    bench.s3cmd(&["cp", "s3://s3cmd-parts/big.bin", "s3://s3cmd-parts/copy/grün +.bin"]).await;
    assert!(bench.object("copy/grün +.bin").await == big(), "the copy is as its source");
    for key in ["/lead", "../up", "a//b", "a/../b", ".", "%2e%2e", "🦀"] {
        bench.s3cmd(&["put", "out/plain.txt", &format!("s3://s3cmd-parts/{key}")]).await;
        assert_eq!(bench.object(key).await, b"content of plain.txt ", "{key}");
    }
    bench.s3cmd(&["mv", "s3://s3cmd-parts/🦀", "s3://s3cmd-parts/moved %"]).await;
    for key in ["big.bin", "moved %", "copy/grün +.bin", "a/../b"] {
        let path = format!("s3://s3cmd-parts/{key}");
        let url = text(&bench.s3cmd(&["signurl", &path, "+600"]).await);
        let curl = ["-sSf", "--path-as-is", "--noproxy", "*", url.trim()];
        let got = run("curl", bench.home(), &[], &curl).await.stdout;
        assert!(got == bench.object(key).await, "{key}: {url}");
    }
    bench.s3cmd(&["del", "s3://s3cmd-parts/moved %"]).await;
    let listing = text(&bench.s3cmd(&["ls", "s3://s3cmd-parts"]).await);
    assert!(listing.contains("big.bin") && !listing.contains("moved"), "{listing}");
    let told = text(&bench.s3cmd(&["info", "s3://s3cmd-parts/big.bin"]).await);
    assert!(told.contains("17825792"), "{told}");
    bench.stop().await;
}
