//! How soon the server is ready, and what it takes when it does nothing.

use std::time::Duration;

use stowage_testkit::Process;

use crate::figure::Figure;

/// How long the server is left alone before its memory is looked at.
pub(crate) const IDLE: Duration = Duration::from_secs(3);
/// How often it is started on what is there.
const RESTARTS: usize = 5;

pub(crate) async fn measure(server: &mut Process) -> Vec<Figure> {
    let target = Duration::from_millis(300);
    let mut figures = vec![Figure::time("ready, first start", server.ready_after, target)];
    let mut times = Vec::new();
    for _ in 0..RESTARTS {
        server.stop("TERM").await;
        server.restart().await;
        times.push(server.ready_after);
    }
    let slowest = times.into_iter().max().unwrap_or_default();
    let what = format!("ready, later starts (slowest of {RESTARTS})");
    figures.push(Figure::time(what, slowest, target));
    tokio::time::sleep(IDLE).await;
    let what = "all roles idle, resident MiB";
    figures.push(match resident_mib(server.pid()) {
        Ok(mib) => Figure::at_most(what, mib, 60.0),
        Err(why) => Figure::missing(what, why),
    });
    figures
}

/// Memory of a process that is in RAM.
pub(crate) fn resident_mib(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok());
    kib.map(|kib| f64::from(kib) / 1024.0).ok_or_else(|| format!("{path} has no VmRSS"))
}
