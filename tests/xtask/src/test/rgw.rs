//! A private Ceph for a run: one monitor, one OSD and one RADOS Gateway, on free ports of
//! 127.0.0.1, gone at the end. For tests the OSD is in memory; to be measured it is durable.
//!
//! No manager daemon and no keys of Ceph's own: the gateway, its quotas and its usage log work
//! without. Nothing is written that must outlive the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::daemon::{self, free_ports, random_id};
use crate::run;

/// What tests are told.
const URL: &str = "STOWAGE_TEST_CEPH_URL";
const ACCESS_KEY: &str = "STOWAGE_TEST_CEPH_ACCESS_KEY";
const SECRET_KEY: &str = "STOWAGE_TEST_CEPH_SECRET_KEY";
/// Name of the folder, below that of the run.
const FOLDER: &str = "ceph";
/// Daemons in the order of their start; each ends before those it needs.
const DAEMONS: [&str; 3] = ["mon", "osd", "rgw"];
/// How long each daemon may take to start on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// What the caller of the Admin Ops API may do: that, and no more, is what the adapter needs.
const CAPS: &str = "--caps=users=*;buckets=*;usage=read";

/// What every Ceph here has: one of each daemon, no keys, no copies.
const SETTINGS: &str = "
[global]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# A path that is too long for a socket would stop it.
admin_socket =
log_to_syslog = false
log_to_stderr = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000

[mon]
mon_data_avail_warn = 1
mon_data_avail_crit = 1
# By default each of many small decisions takes a second.
paxos_propose_interval = 0.05
paxos_min_wait = 0.02

[osd]
osd_crush_update_on_start = false
osd_class_update_on_start = false

[client]
# Without it the monitor is refused for having no keys.
ms_mon_client_mode = crc
# What the adapter reads.
rgw_enable_usage_log = true
";

/// Quick to start and quick to tell: the log of usage and the quotas are looked at each second.
const FOR_TESTS: &str = "
[osd]
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1

[client]
rgw_thread_pool_size = 32
rgw_usage_log_tick_interval = 1
rgw_usage_log_flush_threshold = 1
rgw_user_quota_bucket_sync_interval = 5
rgw_user_quota_sync_interval = 10
rgw_bucket_quota_ttl = 5
rgw_gc_obj_min_wait = 10
rgw_gc_processor_period = 10
rgw_override_bucket_index_max_shards = 1
rgw_dynamic_resharding = false
";

/// As Debian ships it but for its device, a file that takes only the room that is used. BlueStore
/// writes it past the cache of the system and syncs it and its own log before it acknowledges.
const DURABLE: &str = "
[osd]
osd_objectstore = bluestore
bluestore_block_size = 21474836480
";

/// A Ceph that runs until this is dropped.
pub(crate) struct Gateway {
    folder: PathBuf,
    port: u16,
    access_key: String,
    secret_key: String,
    /// Settings beside those that all have.
    kind: &'static str,
    /// In the order of their start.
    children: Vec<Child>,
}

impl Gateway {
    /// Starts one for tests with its files below `folder`, and waits until it answers.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        Self::start_with(folder, FOR_TESTS)
    }

    /// Starts one to be measured, whose objects outlive a kill.
    pub(crate) fn start_durable(folder: &Path) -> Result<Self, String> {
        Self::start_with(folder, DURABLE)
    }

    fn start_with(folder: &Path, kind: &'static str) -> Result<Self, String> {
        let begun = Instant::now();
        let folder = folder.join(FOLDER);
        let mut gateway = Self {
            port: 0,
            access_key: format!("STOWAGETEST{}", std::process::id()),
            secret_key: random_id()?.replace('-', ""),
            folder,
            kind,
            children: Vec::new(),
        };
        let booted = gateway.boot();
        booted.map_err(|why| format!("{why}\n{}", gateway.last_words()))?;
        println!("Ceph's gateway answers after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(gateway)
    }

    /// Tells a command where the gateway is, and who may do everything there.
    pub(crate) fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env(URL, format!("http://127.0.0.1:{}", self.port));
        command.env(ACCESS_KEY, &self.access_key).env(SECRET_KEY, &self.secret_key)
    }

    fn boot(&mut self) -> Result<(), String> {
        let [monitor, gateway] = free_ports()?;
        self.port = gateway;
        self.write_files(monitor, &random_id()?)
            .map_err(|error| format!("cannot write {}: {error}", self.folder.display()))?;
        self.start_monitor(monitor)?;
        self.start_osd()?;
        self.spawn("rgw", "radosgw", &["-n", "client.rgw"])?;
        self.wait("rgw", |own| daemon::answers(own.port, "/"))?;
        let mut make = self.tool("radosgw-admin");
        make.args(["-n", "client.rgw", "user", "create", "--uid=admin", "--display-name=admin"]);
        make.args(["--system", CAPS, "--access-key", &self.access_key]);
        make.args(["--secret-key", &self.secret_key]);
        done(&mut make)
    }

    fn start_monitor(&mut self, port: u16) -> Result<(), String> {
        let map = self.folder.join("monmap");
        let address = format!("[v2:127.0.0.1:{port}]");
        let mut make = Command::new("monmaptool");
        make.args(["--create", "--fsid", &self.read("fsid")?, "--addv", "a", &address]);
        done(make.arg(&map))?;
        done(self.tool("ceph-mon").args(["-i", "a", "--mkfs", "--monmap"]).arg(&map))?;
        self.spawn("mon", "ceph-mon", &["-i", "a"])?;
        self.wait("mon", |own| run::succeeds(own.ceph().args(["mon", "stat"])))
    }

    fn start_osd(&mut self) -> Result<(), String> {
        let id = random_id()?;
        done(self.ceph().args(["osd", "new", &id]))?;
        done(self.tool("ceph-osd").args(["-i", "0", "--mkfs", "--osd-uuid", &id]))?;
        let place = ["osd", "crush", "add", "osd.0", "1.0", "host=localhost", "root=default"];
        done(self.ceph().args(place))?;
        self.spawn("osd", "ceph-osd", &["-i", "0"])?;
        self.wait("osd", |own| {
            let state = own.ceph().args(["osd", "stat"]).stderr(Stdio::null()).output();
            state.is_ok_and(|state| String::from_utf8_lossy(&state.stdout).contains("1 up"))
        })
    }

    fn write_files(&self, port: u16, fsid: &str) -> std::io::Result<()> {
        for name in DAEMONS {
            fs::create_dir_all(self.folder.join(name))?;
        }
        let at = self.folder.display();
        let settings = format!(
            "[global]\nfsid = {fsid}\nmon_host = [v2:127.0.0.1:{port}]\n\
             mon_initial_members = a\nrun_dir = {at}\ncrash_dir = {at}\n\
             log_file = {at}/$name.log\nmon_cluster_log_file = {at}/cluster.log\n\
             [mon]\nmon_data = {at}/mon\n[osd]\nosd_data = {at}/osd\n\
             [client.rgw]\nrgw_data = {at}/rgw\n\
             rgw_frontends = beast endpoint=127.0.0.1:{}\n{SETTINGS}{}",
            self.port, self.kind
        );
        fs::write(self.folder.join("fsid"), fsid)?;
        fs::write(self.folder.join("ceph.conf"), settings)
    }

    /// A program of Ceph's, with our settings. They wait for a monitor for ever, hence the limit.
    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        let seconds = STARTS_WITHIN.as_secs().to_string();
        command.args([&seconds, program, "-c"]).arg(self.folder.join("ceph.conf"));
        command
    }

    fn ceph(&self) -> Command {
        let mut command = self.tool("ceph");
        command.args(["--connect-timeout", "5"]);
        command
    }

    /// Starts a daemon that is killed when this process ends, however it does.
    fn spawn(&mut self, name: &str, program: &str, arguments: &[&str]) -> Result<(), String> {
        let mut command = daemon::dying_with_us(program);
        command.arg("-f").arg("-c").arg(self.folder.join("ceph.conf")).args(arguments);
        let child = daemon::spawn(&mut command, &self.folder.join(name))?;
        self.children.push(child);
        Ok(())
    }

    /// Waits until the daemon started last is ready.
    fn wait(&mut self, name: &str, is_ready: impl Fn(&Self) -> bool) -> Result<(), String> {
        let until = Instant::now() + STARTS_WITHIN;
        while Instant::now() < until {
            if is_ready(self) {
                return Ok(());
            }
            if !self.children.last_mut().is_some_and(daemon::runs) {
                return Err(format!("{name} has ended by itself"));
            }
            thread::sleep(PAUSE);
        }
        Err(format!("{name} is not ready after {STARTS_WITHIN:?}"))
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The end of what the daemons said.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for name in ["mon.out", "osd.out", "rgw.out", "client.rgw.log"] {
            words += &format!("{name}: {}\n", daemon::last_words(&self.folder.join(name)));
        }
        words
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            daemon::end(child);
        }
    }
}

/// Ends the daemons of a run that was killed, should they have outlived it.
pub(crate) fn stop_abandoned(folder: &Path) {
    let folder = folder.join(FOLDER);
    for name in DAEMONS.iter().rev() {
        daemon::kill_noted(&folder.join(format!("{name}.pid")), &folder.join("ceph.conf"));
    }
}

/// Runs a program that is to say nothing unless it fails.
fn done(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot start {:?}: {error}", command))?;
    if output.status.success() {
        return Ok(());
    }
    // Not the command: there are secrets in it.
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
