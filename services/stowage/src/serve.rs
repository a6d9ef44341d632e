//! `stowage serve`: starts the server, says so, and stops it when told to.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use stowage_runtime::telemetry::{self, Exporting};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::banner::{Facts, banner};
use crate::config::{Config, Environment};
use crate::error::StartError;
use crate::fail;
use crate::server::{Failure, Server};
use crate::single::{Part, Single};

/// How long threads that are in a system call get after everything else has stopped.
const THREADS_STOP_MAX: Duration = Duration::from_millis(500);
/// How long the last spans and metrics get to be sent.
const TELEMETRY_STOP_MAX: Duration = Duration::from_secs(2);
/// What a shell expects of a program that a signal ended.
const EXIT_SIGNAL: u8 = 130;

/// Serves every role, or one part alone.
pub(crate) fn run(environment: &Environment, part: Option<Part>) -> ExitCode {
    let begun = Instant::now();
    let config = match Config::load(environment) {
        Ok(config) => config,
        Err(faults) => return fail(2, &format!("{faults}\nnothing was started")),
    };
    if let Err(why) = telemetry::init_log(&log_filter(&config.log.level), config.log.format) {
        return fail(2, &format!("log.level: {why}"));
    }
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let exporting = {
        let _in_runtime = runtime.enter();
        export(environment, part)
    };
    let code = runtime.block_on(serve(config, part, begun));
    // A second signal ends the process at once.
    if code != ExitCode::from(EXIT_SIGNAL) {
        exporting.end(TELEMETRY_STOP_MAX);
    }
    runtime.shutdown_timeout(THREADS_STOP_MAX);
    code
}

/// Begins to export traces and metrics, if the environment names a collector.
fn export(environment: &Environment, part: Option<Part>) -> Exporting {
    let name = part.map_or_else(|| "stowage".to_owned(), |p| format!("stowage-{}", p.name()));
    let (otlp, ignored) = environment.otlp(name);
    for why in ignored {
        tracing::warn!(why, "a setting of telemetry is of no use");
    }
    telemetry::export(&otlp)
}

async fn serve(config: Config, part: Option<Part>, begun: Instant) -> ExitCode {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return fail(1, &error),
    };
    let started = tokio::select! {
        started = Serving::start(config, part) => started,
        name = signals.next() => {
            tracing::info!(signal = name, "told to stop before it was up");
            return ExitCode::SUCCESS;
        }
    };
    let mut server = match started {
        Ok(server) => server,
        Err(error) => return fail(error.exit_code(), &error),
    };
    server.greet(begun.elapsed());
    let code = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "stopping when running calls have ended; again: at once");
            ExitCode::SUCCESS
        }
        failure = server.failed() => {
            tracing::error!(task = failure.task, why = %failure.why, "a part ended; stopping");
            fail(1, &format!("{failure}; the server stops, and nothing acknowledged is lost"))
        }
    };
    tokio::select! {
        () = server.stop() => code,
        name = signals.next() => fail(EXIT_SIGNAL, &format!("{name} again, ending at once")),
    }
}

/// What is served.
enum Serving {
    All(Box<Server>),
    One(Part, Box<Single>),
}

impl Serving {
    async fn start(config: Config, part: Option<Part>) -> Result<Self, StartError> {
        Ok(match part {
            None => Self::All(Box::new(Server::start(config).await?)),
            Some(part) => Self::One(part, Box::new(Single::start(config, part).await?)),
        })
    }

    async fn failed(&mut self) -> Failure {
        match self {
            Self::All(server) => server.failed().await,
            Self::One(_, single) => single.failed().await,
        }
    }

    async fn stop(self) {
        match self {
            Self::All(server) => server.stop().await,
            Self::One(_, single) => single.stop().await,
        }
    }

    fn greet(&self, took: Duration) {
        match self {
            Self::All(server) => greet(server, took),
            Self::One(part, single) => greet_part(*part, single, took),
        }
    }
}

fn greet(server: &Server, took: Duration) {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (data_dir, token_file) = (absolute(server.data_dir()), absolute(server.token_file()));
    let program = std::env::current_exe().unwrap_or_else(|_| "stowage".into());
    say(&banner(&Facts {
        gateway: server.gateway_addr(),
        s3: server.s3_addr(),
        data_dir: &data_dir,
        token_file: &token_file,
        program: &program,
        ready_ms: took.as_millis(),
    }));
    tracing::info!(
        gateway = %server.gateway_addr(),
        s3 = server.s3_addr().map(tracing::field::display),
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
}

fn greet_part(part: Part, single: &Single, took: Duration) {
    let (name, ms) = (part.name(), took.as_millis());
    let mut text = format!("Stowage {name} is up ({ms} ms) at {}.\n", single.addr());
    if let Some(s3) = single.s3_addr() {
        text.push_str(&format!("  S3 endpoint  {s3}\n"));
    }
    say(&text);
    let duration_ms = u64::try_from(ms).unwrap_or(u64::MAX);
    tracing::info!(part = name, addr = %single.addr(), duration_ms, "ready");
}

/// Nobody reading it is no reason to end.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The S3 library calls every request it refuses an error. Its clients' mistakes are not ours;
/// who wants to see them adds `s3s=error` to the level.
fn log_filter(level: &str) -> String {
    format!("s3s=off,{level}")
}

/// The signals that stop the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
