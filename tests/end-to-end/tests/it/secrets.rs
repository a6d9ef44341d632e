//! Secrets at rest and in logs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use stowage_testkit::Process;

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_files_that_others_cannot_read() {
    let server = Process::start().await;
    let customer = server.site.customer("private@example.com", "EUR").await;
    let (plan_id, _) = server.site.plans().await;
    let account = server.site.order(&customer.token, plan_id, "private").await;
    let mode = |path: &Path| {
        std::fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
    };
    assert_eq!(mode(&server.data().join("admin.token")), 0o600);
    let secrets = [&account.secret_key, &customer.api_key, &customer.token];
    let log = server.log();
    let mut files = Vec::new();
    find_files(&server.data(), &mut files);
    assert!(files.len() > 4, "{files:?}");
    for secret in secrets {
        assert!(!log.contains(secret.as_str()), "a secret is in the log");
        for path in &files {
            let content = std::fs::read(path).unwrap_or_default();
            let is_there = content.windows(secret.len()).any(|part| part == secret.as_bytes());
            // The engine must know the keys it checks signatures with; its file is closed.
            assert!(!is_there || mode(path) == 0o600, "a secret is in {}", path.display());
        }
    }
}

fn find_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { find_files(&path, into) } else { into.push(path) }
    }
}
