//! Brings in the Python programs that the tests run: `schemathesis` and `openapi-spec-validator`,
//! which the facade's document is tested with, and `boto3`, an S3 client. They are in an
//! environment of their own below the target folder, so that nothing of the machine changes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{install, run};

/// What is installed, to the version: a new one may find what the last one did not, and that is a
/// change to make on purpose. `hypothesis` makes its data.
const PACKAGES: [&str; 4] = [
    "schemathesis==4.32.5",
    "hypothesis==6.170.15",
    "openapi-spec-validator==0.9.0",
    "boto3==1.44.8",
];

/// Names what the environment was made of; written last, so that half an installation is none.
const MARK: &str = "installed.txt";

/// Makes the environment unless it is there.
pub(crate) fn environment() -> Result<(), String> {
    let folder = run::target().join("schemathesis");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(folder.join(MARK)).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    println!("missing: {}", PACKAGES.join(", "));
    let can_make = |module: &str| {
        run::succeeds(Command::new("python3").args(["-c", &format!("import {module}")]))
    };
    if !can_make("venv, ensurepip") {
        install::packages(&["python3", "python3-venv"])?;
    }
    make(&folder)?;
    let mark = folder.join(MARK);
    fs::write(&mark, wanted).map_err(|error| format!("cannot write {}: {error}", mark.display()))
}

fn make(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
    }
    run::shown(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = ["install", "--quiet", "--disable-pip-version-check", "--retries", "3"];
    run::shown(Command::new(folder.join("bin/pip")).args(pip).args(PACKAGES)).map_err(|why| {
        format!("{why}; the registry of Python packages must be reachable the first time")
    })
}
