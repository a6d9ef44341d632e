//! A private RabbitMQ for a test run: own node, own ports, own folder, gone at the end.
//!
//! It is controlled by a script in its folder, `broker start|stop|kill`, so that a test can stop
//! it and start it again by the same means, and so can a person. The script ends only processes
//! that have that folder as their home. Erlang's port mapper, which would else stay behind as a
//! daemon, is one of them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run;

/// The address of the broker.
pub(crate) const URL: &str = "STOWAGE_TEST_AMQP_URL";
/// The script that stops the broker and starts it again.
pub(crate) const CONTROL: &str = "STOWAGE_TEST_AMQP_CONTROL";

/// Where Debian has the programs; those on the path first change the user.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
/// Name of the folder, below that of the run.
const FOLDER: &str = "rabbitmq";
/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);
/// Between two looks whether it is up.
const PAUSE: Duration = Duration::from_millis(100);
/// What a client of AMQP 0-9-1 says first.
const GREETING: &[u8] = b"AMQP\0\0\x09\x01";

/// What the script does; the settings come before it.
const SCRIPT: &str = r#"
export HOME="$folder" RABBITMQ_MNESIA_BASE="$folder/data" RABBITMQ_LOG_BASE="$folder/log"
export RABBITMQ_CONFIG_FILE="$folder/rabbitmq" RABBITMQ_PID_FILE="$folder/broker.pid"
export RABBITMQ_CONF_ENV_FILE="$folder/none" RABBITMQ_ENABLED_PLUGINS_FILE="$folder/plugins"
export RABBITMQ_NODENAME=stowage-test@localhost RABBITMQ_DIST_PORT="$dist" ERL_EPMD_PORT="$epmd"
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'

# The process of a file, if it still is the one that was started here.
ours() {
    found=$(cat "$folder/$1" 2>/dev/null) || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$found/environ" | grep -qxF "HOME=$folder" || return 1
    echo "$found"
}

# Sends a signal to a process and waits until it is gone. The broker removes its file long before
# that, and what ends has no environment any more: from here on only the number counts.
end() {
    kill "-$1" "$2" 2>/dev/null || return 0
    left=300
    while state=$(cut -d ' ' -f 3 "/proc/$2/stat" 2>/dev/null) && [ "$state" != Z ]; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.1
    done
}

case "$1" in
start)
    if ! ours epmd.pid >/dev/null; then
        epmd -address 127.0.0.1 -port "$epmd" >>"$folder/epmd.out" 2>&1 </dev/null &
        echo $! >"$folder/epmd.pid"
    fi
    rm -f "$folder/broker.pid"
    setsid nohup "$programs/rabbitmq-server" >>"$folder/broker.out" 2>&1 </dev/null &
    ;;
stop)
    broker=$(ours broker.pid) && { end TERM "$broker" || end KILL "$broker"; }
    mapper=$(ours epmd.pid) && end KILL "$mapper"
    # Neither may be left; one that never ran is fine.
    ! ours broker.pid >/dev/null && ! ours epmd.pid >/dev/null
    ;;
kill)
    broker=$(ours broker.pid) && end KILL "$broker"
    ;;
*)
    echo "usage: $0 start|stop|kill" >&2
    exit 2
    ;;
esac
"#;

/// A broker that runs until this is dropped.
pub(crate) struct Broker {
    control: PathBuf,
    port: u16,
}

impl Broker {
    /// Starts one with its files below `folder`, and waits until it answers.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        let folder = folder.join(FOLDER);
        let [port, dist, epmd] = free_ports().map_err(|error| format!("no free port: {error}"))?;
        let control = write_files(&folder, [port, dist, epmd])
            .map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
        let broker = Self { control, port };
        run::shown(Command::new(&broker.control).arg("start"))?;
        broker.wait_until_ready().map_err(|why| format!("{why}\n{}", last_words(&folder)))?;
        Ok(broker)
    }

    /// Tells a command where the broker is.
    pub(crate) fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port);
        command.env(URL, url).env(CONTROL, &self.control)
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let begun = Instant::now();
        while !answers(SocketAddr::from(([127, 0, 0, 1], self.port))) {
            if begun.elapsed() > START_MAX {
                return Err(format!("RabbitMQ does not answer after {START_MAX:?}"));
            }
            std::thread::sleep(PAUSE);
        }
        println!("RabbitMQ answers after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(why) = run::shown(Command::new(&self.control).arg("stop")) {
            eprintln!("RabbitMQ was not stopped: {why}");
        }
    }
}

/// Stops the broker of a run that was killed, if it had one.
pub(crate) fn stop_abandoned(folder: &Path) {
    let control = folder.join(FOLDER).join("broker");
    if control.is_file() {
        // It is tried again by the next run.
        let _ = run::shown(Command::new(control).arg("stop"));
    }
}

/// Whether something there speaks AMQP: an open port is not enough.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    let mut byte = [0];
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.write_all(GREETING).is_ok()
        && stream.read_exact(&mut byte).is_ok()
}

/// Ports that are free now; all are held until the last is found, so that they differ.
fn free_ports() -> std::io::Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        match listener {
            Ok(listener) => *port = listener.local_addr()?.port(),
            Err(error) => return Err(std::io::Error::new(error.kind(), error.to_string())),
        }
    }
    Ok(ports)
}

/// Writes what the broker needs, and returns the script.
fn write_files(folder: &Path, [port, dist, epmd]: [u16; 3]) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\n\
         disk_free_limit.absolute = 50MB\n\
         log.console = false\n"
    );
    fs::write(folder.join("rabbitmq.conf"), settings)?;
    fs::write(folder.join("plugins"), "[].\n")?;
    let cookie = folder.join(".erlang.cookie");
    // Nodes of other runs have other ports; this is no secret, but it must be there.
    fs::write(&cookie, format!("stowage{port}{dist}{epmd}"))?;
    fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
    let control = folder.join("broker");
    let programs = Path::new(PROGRAMS);
    let programs = if programs.is_dir() { programs } else { Path::new("/usr/sbin") };
    let head = format!(
        "#!/bin/sh\n# Controls the broker of a test run.\n\
         folder={} programs={} dist={dist} epmd={epmd}\n",
        quoted(folder),
        quoted(programs),
    );
    fs::write(&control, head + SCRIPT)?;
    fs::set_permissions(&control, fs::Permissions::from_mode(0o700))?;
    Ok(control)
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// The end of what the broker printed.
fn last_words(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("broker.out")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_quote_stays_one_word() {
        assert_eq!(quoted(Path::new("/it's here")), r"'/it'\''s here'");
    }

    #[test]
    fn free_ports_differ() {
        let [one, two, three] = free_ports().unwrap();
        assert!(one != two && two != three && one != three);
    }

    #[test]
    fn a_port_that_is_silent_is_no_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let closing = std::thread::spawn(move || drop(listener.accept()));
        assert!(!answers(address));
        closing.join().unwrap();
    }
}
