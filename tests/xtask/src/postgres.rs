//! A PostgreSQL server for the tests: its own data, a free port, and gone at the end.
//!
//! The data lies in the system's folder for temporary files, since the path of a socket must be
//! short and, where this runs as root, the server's own user must reach it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::run;

/// Where Debian puts the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The user that Debian's package makes: the server refuses to run as root.
const USER: &str = "postgres";
/// Begins the names of folders; the number of the process that made one follows.
const FOLDER: &str = "stowage-test-postgres-";
/// How long the server may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to stop before it is killed.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// The address of its administrator.
const URL: &str = "STOWAGE_TEST_DATABASE_URL";
/// The script that stops the server and starts it again.
const CONTROL: &str = "STOWAGE_TEST_DATABASE_CONTROL";
/// For a server that lives as long as its tests: nothing it has must outlive it.
const QUICK: &[&str] = &["synchronous_commit=off"];
/// For one that is killed: what was committed is written, if only to the system's memory.
const LASTING: &[&str] = &["synchronous_commit=on"];
/// For one that is measured: as providers run it.
const DURABLE: &[&str] = &[
    "synchronous_commit=on",
    "fsync=on",
    "full_page_writes=on",
    "shared_buffers=1GB",
    "max_wal_size=4GB",
];
/// What is lost when the power fails is of no use; a deadlock is looked for early.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "full_page_writes=off",
    "max_connections=400",
    "deadlock_timeout=100ms",
    "log_min_messages=warning",
];
/// Everybody is trusted but one, by whom tests try passwords.
const RULES: &str = "host all stowage_password 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
local all all trust
";

/// What the script does; the settings come before it.
const SCRIPT: &str = r#"
cd "$folder" || exit 1
control() {
    $user "$programs/pg_ctl" "$@" -D "$folder/data" -w -t 120 >>"$folder/control.log" 2>&1
}
case "$1" in
start) control start -l "$folder/log" -o "$options" ;;
stop) control stop -m fast ;;
kill) control stop -m immediate ;;
*)
    echo "usage: $0 start|stop|kill" >&2
    exit 2
    ;;
esac
"#;

/// A running server.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    port: u16,
}

/// Whether the server's programs are there.
pub(crate) fn is_there() -> bool {
    programs().is_some()
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let version_of =
        |folder: &Path| folder.file_name()?.to_str()?.split('.').next()?.parse::<u32>().ok();
    let newest = versions
        .map(|entry| entry.path())
        .filter(|folder| folder.join("bin/initdb").is_file())
        .max_by_key(|folder| version_of(folder));
    newest.map(|folder| folder.join("bin"))
}

impl Server {
    /// Starts one, and waits until it answers.
    pub(crate) fn start() -> Result<Self, String> {
        Self::start_with(QUICK)
    }

    /// Starts one that can be killed and loses nothing by it.
    pub(crate) fn start_lasting() -> Result<Self, String> {
        Self::start_with(LASTING)
    }

    /// Starts one that loses nothing when the power fails either.
    pub(crate) fn start_durable() -> Result<Self, String> {
        Self::start_with(DURABLE)
    }

    /// Tells a command where the server is, and how it is controlled.
    pub(crate) fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env(URL, self.url()).env(CONTROL, self.folder.join("control"))
    }

    fn start_with(settings: &[&str]) -> Result<Self, String> {
        let programs = programs().ok_or("PostgreSQL is not installed")?;
        remove_abandoned();
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        make_folder(&folder)?;
        let started =
            initialise(&programs, &folder).and_then(|()| spawn(&programs, &folder, settings));
        let (child, port) = started.inspect_err(|_| remove(&folder))?;
        let mut server = Self { child, folder, port };
        server.wait(&programs)?;
        println!("PostgreSQL listens at {}", server.url());
        Ok(server)
    }

    /// The address of its administrator.
    fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    fn wait(&mut self, programs: &Path) -> Result<(), String> {
        let until = Instant::now() + STARTS_WITHIN;
        let port = self.port.to_string();
        while Instant::now() < until {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                break;
            }
            let mut ready = Command::new(programs.join("pg_isready"));
            if run::succeeds(ready.args(["-q", "-h", "127.0.0.1", "-p", &port])) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(format!("PostgreSQL does not start:\n{log}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends open sessions, then itself.
        signal("-INT", self.child.id());
        let until = Instant::now() + STOPS_WITHIN;
        while Instant::now() < until && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // One that a test has started again is not our child any more.
        stop_abandoned(&self.folder);
        remove(&self.folder);
    }
}

/// Makes the folder, of the user that the server runs as.
fn make_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    if run::is_root() {
        run::shown(Command::new("chown").arg(USER).arg(folder))?;
    }
    run::shown(Command::new("chmod").arg("700").arg(folder))
}

fn initialise(programs: &Path, folder: &Path) -> Result<(), String> {
    let mut initdb = as_user(&programs.join("initdb"));
    initdb.arg("-D").arg(folder.join("data"));
    initdb.args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
    run::shown(initdb.current_dir(folder).stdout(Stdio::null()))?;
    let rules = folder.join("data/pg_hba.conf");
    fs::write(&rules, RULES).map_err(|error| format!("cannot write {}: {error}", rules.display()))
}

fn spawn(programs: &Path, folder: &Path, settings: &[&str]) -> Result<(Child, u16), String> {
    let told = |error: std::io::Error| format!("cannot start PostgreSQL: {error}");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    let port = free.local_addr().map_err(told)?.port();
    drop(free);
    let mut options = vec!["-k".to_owned(), folder.display().to_string()];
    options.extend(["-h", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned));
    // Of two values the last counts.
    for setting in SETTINGS.iter().chain(settings) {
        options.extend(["-c".to_owned(), (*setting).to_owned()]);
    }
    write_script(programs, folder, &options.join(" ")).map_err(told)?;
    let log = File::create(folder.join("log")).map_err(told)?;
    // Whoever starts it again appends to it.
    log.set_permissions(fs::Permissions::from_mode(0o666)).map_err(told)?;
    let mut server = as_user(&programs.join("postgres"));
    server.arg("-D").arg(folder.join("data")).args(options);
    let child = server
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(told)?;
    Ok((child, port))
}

/// Writes the script that stops the server and starts it again with the same options.
fn write_script(programs: &Path, folder: &Path, options: &str) -> std::io::Result<()> {
    let user = match run::is_root() {
        true => format!("setpriv --reuid {USER} --regid {USER} --clear-groups --"),
        false => String::new(),
    };
    let head = format!(
        "#!/bin/sh\n# Controls the database server of a test run.\n\
         folder='{}' programs='{}' user='{user}'\noptions='{options}'\n",
        folder.display(),
        programs.display(),
    );
    let script = folder.join("control");
    fs::write(&script, head + SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700))
}

/// The program, as an ordinary user, and told to end when this process does.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if run::is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// Removes what runs that were killed have left; each folder is named by the process that made it.
fn remove_abandoned() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)) else {
            continue;
        };
        if Path::new("/proc").join(process).exists() {
            continue;
        }
        stop_abandoned(&entry.path());
        remove(&entry.path());
    }
}

/// Stops the server of a folder, if that still runs: the one whose command line names the folder.
fn stop_abandoned(folder: &Path) {
    let data = folder.join("data");
    let lock = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let Some(process) = lock.lines().next().and_then(|line| line.trim().parse().ok()) else {
        return;
    };
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&words);
    if data.to_str().is_some_and(|data| text.contains(data)) {
        signal("-QUIT", process);
    }
}

fn signal(signal: &str, process: u32) {
    run::succeeds(Command::new("kill").args([signal, &process.to_string()]));
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        eprintln!("cannot remove {}: {error}", folder.display());
    }
}
