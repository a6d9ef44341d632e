//! boto3, the AWS SDK for Python, of the version that `cargo xtask test` installs. It adds
//! checksums in trailers of its own accord, as current SDKs do.

use super::{Bench, python_program, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn boto3_does_all_that_it_has() {
    let bench = Bench::start("boto-bucket").await;
    std::fs::write(bench.home().join("client.py"), include_str!("client.py")).expect("a file");
    let settings = [
        ("AWS_ACCESS_KEY_ID", bench.account.access_key.as_str()),
        ("AWS_SECRET_ACCESS_KEY", bench.account.secret_key.as_str()),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ];
    let python = python_program("python3");
    let python = python.to_str().expect("the path is plain text");
    let arguments = ["client.py", &bench.account.endpoint, "boto-bucket"];
    let output = run(python, bench.home(), &settings, &arguments).await;
    assert_eq!(text(&output).trim(), "all was right");
    bench.assert_synced().await;
    bench.stop().await;
}
