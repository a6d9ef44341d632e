//! Brings in what the tests need and a bare machine lacks.
//!
//! On Debian and Ubuntu by apt, as root or by sudo. Elsewhere it says what is missing and stops:
//! guessing at package names of systems we do not run on helps nobody.

use std::process::Command;

use crate::{postgres, run};

/// A program the tests start, the Debian packages that have it, and what for.
struct Tool {
    program: &'static str,
    /// Arguments it succeeds with only if its modules are there; empty: being there is enough.
    probe: &'static [&'static str],
    package: &'static str,
    why: &'static str,
}

/// A tool without modules.
const fn tool(program: &'static str, package: &'static str, why: &'static str) -> Tool {
    Tool { program, probe: &[], package, why }
}

const TOOLS: &[Tool] = &[
    tool("cc", "gcc libc6-dev", "SQLite, ring and the allocator are compiled from C"),
    tool("make", "make", "the allocator is built by it"),
    tool("rclone", "rclone", "an S3 client that is not ours"),
    tool("s3cmd", "s3cmd", "another S3 client that is not ours"),
    // Debian's own, whatever else is on the path.
    tool("/usr/bin/aws", "awscli", "the S3 client that most people have"),
    tool("curl", "curl", "clients in the field use it, and its bodies on GET"),
    tool("docker-compose", "docker-compose", "reads the compose file; nothing is started"),
    Tool {
        program: "php",
        probe: &["-r", "exit((int) !extension_loaded('curl'));"],
        package: "php-cli php-curl",
        why: "clients in the field are written in it",
    },
    Tool {
        // Debian's own, whatever else is on the path.
        program: "/usr/bin/python3",
        probe: &["-c", "import requests"],
        package: "python3 python3-requests",
        why: "clients in the field are written in it",
    },
];

/// Runs a command while no package may start a service: the tests start their own, privately.
const NO_SERVICES: &str = r#"
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] && exec "$@"
trap 'rm -f "$policy"' EXIT
printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
"$@"
"#;

/// Cargo's own parts: the subcommand, and the rustup component that has it.
const COMPONENTS: &[(&str, &str)] = &[("fmt", "rustfmt"), ("clippy", "clippy")];

/// Installs every missing tool.
pub(crate) fn tools() -> Result<(), String> {
    install(TOOLS)
}

/// Installs the broker that tests run beside them.
pub(crate) fn broker() -> Result<(), String> {
    // The path of Debian's, which does not change the user.
    let program = "/usr/lib/rabbitmq/bin/rabbitmq-server";
    install(&[tool(program, "rabbitmq-server", "events travel over it in production")])
}

const GATEWAY: &[Tool] = &[
    tool("ceph-mon", "ceph-mon", "Ceph's gateway needs a monitor"),
    tool("ceph-osd", "ceph-osd", "and a place for its objects"),
    tool("radosgw", "radosgw", "a storage engine of production"),
];

/// Installs the Ceph that tests run beside them: 73 MB to fetch, 286 MB on the disk.
pub(crate) fn gateway() -> Result<(), String> {
    install(GATEWAY)
}

/// Whether it is there without installing.
pub(crate) fn has_gateway() -> bool {
    GATEWAY.iter().all(is_there)
}

fn install(tools: &[Tool]) -> Result<(), String> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !is_there(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        println!("missing: {} ({})", tool.program, tool.why);
    }
    let packages: Vec<&str> = missing.iter().flat_map(|tool| tool.package.split(' ')).collect();
    self::packages(&packages)?;
    match missing.iter().find(|tool| !is_there(tool)) {
        None => Ok(()),
        Some(tool) => Err(format!("{} was installed and is still not usable", tool.program)),
    }
}

/// Installs the database server that tests run beside them.
pub(crate) fn database_server() -> Result<(), String> {
    if !postgres::is_there() {
        println!("missing: postgres (the database of production)");
        packages(&["postgresql"])?;
    }
    match postgres::is_there() {
        true => Ok(()),
        false => Err("PostgreSQL was installed and is still not there".to_owned()),
    }
}

fn is_there(tool: &Tool) -> bool {
    run::is_on_path(tool.program)
        && (tool.probe.is_empty() || run::succeeds(Command::new(tool.program).args(tool.probe)))
}

/// Installs packages of Debian.
pub(crate) fn packages(packages: &[&str]) -> Result<(), String> {
    let by_hand = format!("install these by hand: {}", packages.join(" "));
    if !run::is_on_path("apt-get") {
        return Err(format!("this is not Debian or Ubuntu; {by_hand}"));
    }
    let is_root = run::is_root();
    if !is_root && !run::is_on_path("sudo") {
        return Err(format!("neither root nor sudo is at hand; {by_hand}"));
    }
    println!("installing by apt: {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(if is_root { "env" } else { "sudo" });
        command.args(["DEBIAN_FRONTEND=noninteractive", "sh", "-c", NO_SERVICES, "sh"]);
        command.args(["apt-get", "-q"]).args(arguments);
        run::shown(&mut command)
    };
    let wanted = [&["install", "-y", "--no-install-recommends"], packages].concat();
    // The list of packages of a fresh image is empty or old; fetching it is tried only if needed.
    apt(&wanted)
        .or_else(|_| apt(&["update"]).and_then(|()| apt(&wanted)))
        .map_err(|why| format!("{why}; {by_hand}"))
}

/// Adds `rustfmt` and `clippy` if this toolchain lacks them.
pub(crate) fn components() -> Result<(), String> {
    for (subcommand, component) in COMPONENTS {
        if run::succeeds(run::cargo().args([subcommand, "--version"])) {
            continue;
        }
        println!("missing: cargo {subcommand}");
        if !run::is_on_path("rustup") {
            return Err(format!("install the Rust component {component} by hand"));
        }
        run::shown(
            Command::new("rustup").args(["component", "add", component]).current_dir(run::root()),
        )?;
    }
    Ok(())
}
