//! `cargo xtask test`: the one command that says whether a change may land.
//!
//! Cheap stages come first, so that a wrong layout costs seconds and not minutes. A stage that
//! fails stops the run. Clippy and the tests use one profile and one target folder each of
//! cargo's own choice; nothing here clears what is built.

mod daemon;
mod garage_server;
mod moto;
mod rgw;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) use rgw::Gateway;

use crate::rabbitmq::{self, Broker};
use crate::{install, layout, postgres, python, run};

/// One part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The tools that the other stages need.
    Tools,
    /// `cargo fmt`.
    Fmt,
    /// The rules of `layout`.
    Layout,
    /// `cargo clippy`.
    Clippy,
    /// Building all, and running the tests that need no server.
    Tests,
    /// Running those that touch a database once more, on PostgreSQL.
    Postgres,
    /// The tests that need a broker, with one.
    Amqp,
    /// Those that run each part by itself, on both servers, and make these fail.
    Resilience,
    /// The tests that need S3 with the users of IAM, on a double of AWS.
    Aws,
    /// The tests that need a Ceph RADOS Gateway, with one.
    Ceph,
    /// The tests that need a Garage, with one. Building it takes long, so not in every run.
    Garage,
}

impl Stage {
    const ALL: [Self; 11] = [
        Self::Tools,
        Self::Fmt,
        Self::Layout,
        Self::Clippy,
        Self::Tests,
        Self::Postgres,
        Self::Amqp,
        Self::Resilience,
        Self::Aws,
        Self::Ceph,
        Self::Garage,
    ];

    /// What the summary calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Fmt => "fmt",
            Self::Layout => "layout",
            Self::Clippy => "clippy",
            Self::Tests => "tests",
            Self::Postgres => "postgres",
            Self::Amqp => "amqp",
            Self::Resilience => "resilience",
            Self::Aws => "aws",
            Self::Ceph => "ceph",
            Self::Garage => "garage",
        }
    }

    /// The stage that can be asked for by this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name && *stage != Self::Tools)
    }
}

impl Stage {
    /// The stage of an engine that is another server.
    pub(crate) fn of_engine(name: &str) -> Option<Self> {
        Self::from_name(name).filter(|stage| matches!(stage, Self::Aws | Self::Ceph | Self::Garage))
    }
}

/// Runs all stages but the one of Garage, or one with what it needs.
pub(crate) fn run(only: Option<Stage>) -> Result<(), String> {
    let wanted = |stage: &Stage| match only {
        None => *stage != Stage::Garage,
        Some(only) => *stage == only || (*stage == Stage::Tools && only != Stage::Layout),
    };
    let mut done: Vec<(Stage, Duration)> = Vec::new();
    let mut closing = Vec::new();
    for stage in Stage::ALL.into_iter().filter(wanted) {
        println!("\n== {} ==", stage.name());
        let start = Instant::now();
        let outcome = run_stage(stage, &mut closing);
        done.push((stage, start.elapsed()));
        if let Err(why) = outcome {
            print_summary(&done, &closing);
            return Err(format!("stage {} failed: {why}", stage.name()));
        }
    }
    print_summary(&done, &closing);
    println!("all passed");
    if only.is_none() {
        println!("not run: Garage's adapter, by `cargo xtask test --engine garage`");
    }
    Ok(())
}

fn run_stage(stage: Stage, closing: &mut Vec<String>) -> Result<(), String> {
    match stage {
        Stage::Tools => {
            install::components().and_then(|()| install::tools())?;
            python::PROGRAMS.ensure()?;
            python::WHMCS.ensure()
        }
        Stage::Fmt => run::shown(run::cargo().args(["fmt", "--all", "--check"])),
        Stage::Layout => check_layout(),
        Stage::Clippy => run_clippy(),
        Stage::Tests => run_tests(closing),
        Stage::Postgres => run_on_postgres(closing),
        Stage::Amqp => run_amqp(closing),
        Stage::Resilience => run_resilience(closing),
        Stage::Aws => run_aws(closing),
        Stage::Ceph => run_ceph(closing),
        Stage::Garage => run_garage(closing),
    }
}

fn check_layout() -> Result<(), String> {
    let (files, faults) = layout::check(&run::root())?;
    println!("{files} files looked at");
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("{} faults", faults.len())) }
}

/// The workspace, and the fuzz targets: they are outside of it, since running them needs a nightly
/// compiler, and would else break unseen.
fn run_clippy() -> Result<(), String> {
    let strict = ["--", "-D", "warnings"];
    let workspace = ["clippy", "--workspace", "--all-targets", "--locked"];
    run::shown(run::cargo().args(workspace).args(strict))?;
    let fuzz = ["clippy", "--manifest-path", "tests/fuzz/Cargo.toml", "--locked", "--target-dir"];
    run::shown(run::cargo().args(fuzz).arg(run::target()).args(strict))
}

fn run_tests(closing: &mut Vec<String>) -> Result<(), String> {
    // The tests that kill the server need the program itself, which a test run does not build.
    // With all targets in one build it shares every dependency with the tests.
    run::shown(run::cargo().args(["build", "--workspace", "--all-targets", "--locked"]))?;
    let folder = Scratch::new()?;
    let outcome = run_runner(&folder, closing);
    drop(folder);
    outcome
}

/// Which tests of all, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those that need no server.
    Plain,
    /// Those that need a broker, and leave it as it is.
    Amqp,
    /// Those that start each part of the program in a process of its own, on PostgreSQL too.
    AmqpParts,
    /// Those that stop the broker and start it again: nothing runs beside them.
    AmqpOutage,
    /// Those of all parts by themselves, which stop both servers.
    Resilience,
    /// Those that need a double of AWS.
    Aws,
    /// Those that need a Ceph RADOS Gateway.
    Ceph,
    /// Those that need a Garage.
    Garage,
}

/// Part of the names of tests that need a broker.
const AMQP: &str = "amqp";
/// Part of the names of tests that start the parts on it, in addition.
const PARTS: &str = "parts";
/// Begins the names of tests of all parts by themselves.
const RESILIENCE: &str = "resilience::";
/// Begins the names of tests that need a double of AWS.
const AWS: &str = "aws::";
/// Begins the names of tests that need a Ceph RADOS Gateway.
const CEPH: &str = "ceph::";
/// Begins the names of tests that need a Garage.
const GARAGE: &str = "garage::";
/// Part of the names of tests that stop it, in addition.
const OUTAGE: &str = "outage";

impl Which {
    fn for_nextest(self) -> String {
        match self {
            Self::Plain => format!(
                "not test({AMQP}) and not test(/(^|::)postgres/) and not test({RESILIENCE}) \
                 and not test({CEPH}) and not test({GARAGE}) and not test({AWS})"
            ),
            Self::Amqp => {
                format!("test({AMQP}) and not test({AMQP}_{PARTS}) and not test({AMQP}_{OUTAGE})")
            }
            Self::AmqpParts => format!("test({AMQP}_{PARTS})"),
            Self::AmqpOutage => format!("test({AMQP}_{OUTAGE})"),
            Self::Resilience => format!("test({RESILIENCE})"),
            Self::Aws => format!("test({AWS})"),
            Self::Ceph => format!("test({CEPH})"),
            Self::Garage => format!("test({GARAGE})"),
        }
    }

    fn for_cargo_test(self) -> Vec<String> {
        let [parts, outage] = [PARTS, OUTAGE].map(|kind| format!("{AMQP}_{kind}"));
        match self {
            Self::Plain => [AMQP, "postgres", RESILIENCE, CEPH, GARAGE, AWS]
                .iter()
                .flat_map(|part| ["--skip".to_owned(), (*part).to_owned()])
                .collect(),
            Self::Amqp => {
                let skip = || "--skip".to_owned();
                vec![AMQP.to_owned(), skip(), parts, skip(), outage]
            }
            Self::AmqpParts => vec![parts],
            Self::AmqpOutage => vec![outage],
            Self::Resilience => vec![RESILIENCE.to_owned(), "--test-threads=1".to_owned()],
            Self::Aws => vec![AWS.to_owned()],
            Self::Ceph => vec![CEPH.to_owned()],
            Self::Garage => vec![GARAGE.to_owned()],
        }
    }

    /// The command that runs them.
    fn command(self) -> Command {
        let mut command = run::cargo();
        if has_nextest() {
            command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "-E"]);
            command.arg(self.for_nextest());
            if self == Self::Resilience {
                command.args(["--test-threads", "1"]);
            }
        } else {
            command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
            command.args(["--lib", "--bins", "--tests", "--"]).args(self.for_cargo_test());
        }
        command
    }
}

/// The tests that need a broker, first those that share it.
fn run_amqp(closing: &mut Vec<String>) -> Result<(), String> {
    install::broker()?;
    install::database_server()?;
    let folder = Scratch::new()?;
    let broker = Broker::start(&folder.path)?;
    let database = postgres::Server::start()?;
    for which in [Which::Amqp, Which::AmqpParts, Which::AmqpOutage] {
        let mut command = which.command();
        if which == Which::AmqpParts {
            database.at(&mut command);
        }
        let (outcome, lines) =
            run::shown_and_kept(broker.at(folder.at(&mut command)), is_closing_line);
        closing.extend(lines);
        outcome?;
    }
    drop((broker, database));
    drop(folder);
    Ok(())
}

/// The program in nine processes, on servers that are stopped under it.
fn run_resilience(closing: &mut Vec<String>) -> Result<(), String> {
    install::broker()?;
    install::database_server()?;
    run::shown(run::cargo().args(["build", "--workspace", "--all-targets", "--locked"]))?;
    let folder = Scratch::new()?;
    let database = postgres::Server::start_lasting()?;
    let broker = Broker::start(&folder.path)?;
    let mut command = Which::Resilience.command();
    database.at(broker.at(folder.at(&mut command)));
    let (outcome, lines) = run::shown_and_kept(&mut command, is_closing_line);
    closing.extend(lines);
    outcome
}

/// The adapter of S3 with the users of IAM, on a double of AWS.
fn run_aws(closing: &mut Vec<String>) -> Result<(), String> {
    python::MOTO.ensure()?;
    let folder = Scratch::new()?;
    let double = moto::Double::start(&folder.path)?;
    let mut command = Which::Aws.command();
    double.at(folder.at(&mut command));
    let (outcome, lines) = run::shown_and_kept(&mut command, is_closing_line);
    closing.extend(lines);
    outcome
}

/// The adapter of Ceph's gateway, on one, and the half of another that is S3.
fn run_ceph(closing: &mut Vec<String>) -> Result<(), String> {
    install::gateway()?;
    python::MOTO.ensure()?;
    let folder = Scratch::new()?;
    let gateway = Gateway::start(&folder.path)?;
    let users = moto::Double::start_open(&folder.path)?;
    let mut command = Which::Ceph.command();
    users.iam_at(gateway.at(folder.at(&mut command)));
    let (outcome, lines) = run::shown_and_kept(&mut command, is_closing_line);
    closing.extend(lines);
    outcome
}

/// The adapter of Garage, on one.
fn run_garage(closing: &mut Vec<String>) -> Result<(), String> {
    let binary = garage_server::binary()?;
    let folder = Scratch::new()?;
    let node = garage_server::Node::start(&binary, &folder.path)?;
    let mut command = Which::Garage.command();
    node.at(folder.at(&mut command));
    let (outcome, lines) = run::shown_and_kept(&mut command, is_closing_line);
    closing.extend(lines);
    outcome
}

fn run_runner(folder: &Scratch, closing: &mut Vec<String>) -> Result<(), String> {
    let mut command = Which::Plain.command();
    let (outcome, lines) = run::shown_and_kept(folder.at(&mut command), is_closing_line);
    closing.extend(lines);
    outcome?;
    if !layout::has_doc_tests(&run::root())? {
        return Ok(());
    }
    let doc = ["test", "--workspace", "--locked", "--doc"];
    let (outcome, lines) = run::shown_and_kept(folder.at(run::cargo().args(doc)), is_closing_line);
    closing.extend(lines);
    outcome
}

fn has_nextest() -> bool {
    run::succeeds(run::cargo().args(["nextest", "--version"]))
}

/// Packages whose tests open a database, or a whole server on one.
const WITH_DATABASE: [&str; 10] = [
    "stowage-db",
    "stowage-bus",
    "stowage-saga",
    "stowage-request",
    "stowage-accounts",
    "stowage-storage",
    "stowage-billing",
    "stowage-provider-ledger",
    "stowage-metering",
    "stowage-end-to-end",
];
/// Parts of the names of tests that are about files, or start the program by themselves.
const ON_FILES: [&str; 3] = ["sqlite::", "chaos::", RESILIENCE];

/// The same tests on a server of their own. Without the server they fail.
fn run_on_postgres(closing: &mut Vec<String>) -> Result<(), String> {
    install::database_server()?;
    let folder = Scratch::new()?;
    let server = postgres::Server::start()?;
    let mut command = run::cargo();
    if has_nextest() {
        // Of the whole workspace: a choice of packages would build its dependencies once more.
        let packages = WITH_DATABASE.map(|name| format!("package({name})")).join("|");
        let on_files = ON_FILES.join("|");
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "-E"]);
        let others = format!("test(/(^|::)({on_files})/) or test({AMQP}) or test({CEPH})");
        let others = format!("{others} or test({GARAGE}) or test({AWS})");
        command.arg(format!("({packages}) and not ({others})"));
    } else {
        command.args(["test", "--locked", "--no-fail-fast", "--lib", "--tests"]);
        command.args(WITH_DATABASE.iter().flat_map(|package| ["-p", package])).arg("--");
        let others = ON_FILES.iter().chain([&AMQP, &CEPH, &GARAGE, &AWS]);
        command.args(others.flat_map(|part| ["--skip", part]));
    }
    server.at(folder.at(&mut command));
    let (outcome, lines) = run::shown_and_kept(&mut command, is_closing_line);
    closing.extend(lines);
    outcome
}

/// Lines by which a runner says how it went, and which tests failed.
fn is_closing_line(line: &str) -> bool {
    let line = line.trim_start();
    let is_result = line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed");
    let is_failure =
        ["FAIL [", "TIMEOUT [", "SIGABRT [", "SIGKILL ["].iter().any(|word| line.starts_with(word));
    is_result || is_failure || line.starts_with("Summary [") || line.ends_with("... FAILED")
}

fn print_summary(done: &[(Stage, Duration)], closing: &[String]) {
    println!("\n== summary ==");
    let mut seen: Vec<&str> = Vec::new();
    for line in closing {
        // A runner repeats its failures at the end.
        if !seen.contains(&line.as_str()) {
            println!("{line}");
            seen.push(line);
        }
    }
    for (stage, time) in done {
        println!("{:>8}  {:>7.1} s", stage.name(), time.as_secs_f64());
    }
    let total: Duration = done.iter().map(|(_, time)| *time).sum();
    println!("{:>8}  {:>7.1} s", "total", total.as_secs_f64());
}

/// The folder that tests put their files in: below the target folder, and gone at the end.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, String> {
        let parent = run::target().join("test-scratch");
        remove_abandoned(&parent);
        let path = parent.join(std::process::id().to_string());
        fs::create_dir_all(&path)
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Self { path })
    }

    fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("TMPDIR", &self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Removes the folders of runs that were killed; each is named by the process that made it.
fn remove_abandoned(parent: &std::path::Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_running = PathBuf::from("/proc").join(entry.file_name()).exists();
        if !is_running {
            rabbitmq::stop_abandoned(&entry.path());
            rgw::stop_abandoned(&entry.path());
            garage_server::stop_abandoned(&entry.path());
            moto::stop_abandoned(&entry.path());
            // It is tried again by the next run.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_run_by_one_selection() {
        for part in [RESILIENCE, CEPH, GARAGE, AWS] {
            assert!(Which::Plain.for_nextest().contains(&format!("not test({part})")));
            assert!(Which::Plain.for_cargo_test().contains(&part.to_owned()));
        }
        for which in [Which::Plain, Which::Amqp, Which::AmqpParts, Which::AmqpOutage] {
            assert!(which.for_nextest().contains(AMQP));
            assert!(which.for_cargo_test().iter().any(|word| word.starts_with(AMQP)));
        }
        assert!(format!("tests::restart::amqp_{OUTAGE}").contains(AMQP));
    }

    #[test]
    fn closing_lines_of_both_runners_are_recognised() {
        for (line, expected) in [
            ("     Summary [  12.3s] 240 tests run: 240 passed, 0 skipped", true),
            ("        FAIL [   0.1s] stowage-end-to-end::it walk", true),
            ("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured", true),
            ("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured", false),
            ("test walk::through ... FAILED", true),
            ("test walk::through ... ok", false),
            ("        PASS [   0.1s] stowage-end-to-end::it walk", false),
        ] {
            assert_eq!(is_closing_line(line), expected, "{line}");
        }
    }
}
