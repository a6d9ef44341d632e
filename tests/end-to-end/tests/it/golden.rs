//! The facade's answers, word for word: one file a case, in `tests/golden`.
//!
//! All cases are sent to one fresh server, in the order of their names, so that later ones find
//! what earlier ones made. What differs from run to run has a name in the files: see the README
//! there.

mod case;
mod diff;
mod names;
mod schema;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use stowage_testkit::{Kit, s3_client, try_eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use case::{Answer, Case, Step};
use names::Names;

/// How long figures may take to reach metering.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same where the answer is not known yet, so that nothing says that it has come.
const PATIENCE_OF_UPDATE: Duration = Duration::from_secs(3);

/// Set to write the answers of this run into the files.
const UPDATE: &str = "UPDATE_GOLDENS";

fn is_update() -> bool {
    std::env::var_os(UPDATE).is_some()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden")
}

/// All cases, by the name of their file.
fn cases() -> Vec<(PathBuf, Case)> {
    let entries = std::fs::read_dir(folder()).expect("there are goldens");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "http"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a golden can be read");
        let case = Case::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        (path, case)
    };
    paths.into_iter().map(read).collect()
}

/// Sends bytes over a connection of their own and takes all that comes back.
async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    stream.write_all(request).await.expect("a request can be sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("an answer can be read");
    Answer::parse(&bytes).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(&bytes)))
}

/// Whom the cases speak as: `ada` and `bob` are customers, `admin` is the provider.
async fn people(kit: &Kit) -> Names {
    let mut names = Names::default();
    names.insert("admin", &kit.site.admin_token);
    for (name, currency) in [("ada", "EUR"), ("bob", "USD"), ("eve", "EUR")] {
        let customer = kit.site.customer(&format!("{name}@example.com"), currency).await;
        names.insert(name, &customer.token);
        names.insert(&format!("{name}-key"), &customer.api_key);
        names.insert(&format!("{name}-id"), &customer.id.to_string());
    }
    names.keep_out_of_answers(["ada-id", "bob-id", "eve-id"]);
    names.endpoint = format!("http://{}", kit.site.s3);
    names
}

/// What must be there before the request is sent.
async fn prepare(step: &Step, kit: &Kit, names: &Names) -> Result<(), String> {
    let Step::Put { access_key, secret_key, bucket, key, bytes } = step;
    let client = s3_client(&names.endpoint, &names.filled(access_key)?, &names.filled(secret_key)?);
    let body = Bytes::from(vec![b'x'; *bytes]);
    let put = client.put_object().bucket(bucket).key(key).body(body.into()).send().await;
    put.map(|_| ()).map_err(|error| format!("{} refused {bucket}/{key}: {error:?}", kit.site.s3))
}

/// The answer of a case with its names put in, and the body as it came.
async fn answer(case: &Case, kit: &Kit, names: &mut Names) -> Result<(String, Answer), String> {
    for step in &case.steps {
        prepare(step, kit, names).await?;
    }
    let request = names.filled(&case.request)?;
    let bytes = case::to_bytes(&request, case.is_head_only);
    if !case.is_eventual {
        let answer = exchange(kit.site.gateway, &bytes).await;
        return Ok((names.redacted(&answer), answer));
    }
    let mut last = None;
    // What does not come in time is shown as a difference.
    let patience = if is_update() { PATIENCE_OF_UPDATE } else { PATIENCE };
    let _ = try_eventually(patience, async || {
        let answer = exchange(kit.site.gateway, &bytes).await;
        let text = names.redacted(&answer);
        let is_there = text == case.answer;
        last = Some((text, answer));
        if is_there { Ok(()) } else { Err(String::new()) }
    })
    .await;
    last.ok_or_else(|| "no answer".to_owned())
}

/// Headers that every answer of the facade has.
fn check_headers(answer: &Answer) -> Result<(), String> {
    let expected =
        [("content-type", "application/json; charset=utf-8"), ("cache-control", "no-store")];
    for (name, value) in expected {
        if answer.header(name) != Some(value) {
            return Err(format!("{name} is {:?}", answer.header(name)));
        }
    }
    answer.header("x-request-id").map(|_| ()).ok_or_else(|| "x-request-id is missing".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_answered_as_it_is_written() {
    let kit = Kit::start().await;
    let document: Value = kit.site.facade.get("/openapi.json", &[]).await.value();
    let mut names = people(&kit).await;
    let mut faults = Vec::new();
    for (path, case) in cases() {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (text, sent) = match answer(&case, &kit, &mut names).await {
            Ok(found) => found,
            Err(why) => {
                faults.push(format!("{file}: {why}"));
                continue;
            }
        };
        for check in [check_headers(&sent), schema::check(&document, &case.request, &sent)] {
            if let Err(why) = check {
                faults.push(format!("{file}: {why}"));
            }
        }
        if text == case.answer {
            continue;
        }
        if is_update() {
            std::fs::write(&path, case.with_answer(&text)).expect("a golden can be written");
        } else {
            let difference = diff::lines(&case.answer, &text);
            faults.push(format!("{file}: {}\n{difference}", case.why()));
        }
    }
    assert!(
        faults.is_empty(),
        "{} cases differ; if the new answers are right, run with {UPDATE}=1\n\n{}",
        faults.len(),
        faults.join("\n\n")
    );
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_has_a_case_that_succeeds_and_one_that_fails() {
    let kit = Kit::start().await;
    let document: Value = kit.site.facade.get("/openapi.json", &[]).await.value();
    let mut seen: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for (_, case) in cases() {
        let (_, path) = case.target();
        let (good, bad) = seen.entry(path).or_default();
        *good |= case.answer.contains("\"result\": \"OK\"");
        *bad |= case.answer.contains("\"result\": -1");
    }
    let paths = document["paths"].as_object().expect("the document has paths");
    for path in paths.keys().filter(|path| path.starts_with("/s3/")) {
        // Nothing that a client can send makes this one fail, but a bad token.
        assert_eq!(seen.get(path), Some(&(true, true)), "{path}");
    }
    kit.stop().await;
}
