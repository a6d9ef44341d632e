//! Brings in what tests need of Python: `schemathesis` and `openapi-spec-validator`, which the
//! facade's document is tested with, `boto3`, an S3 client, `moto`, a double of AWS, and a client
//! of WHMCS. The last two have environments of their own. All are below the target folder, so that
//! nothing of the machine changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{install, run};

/// Programs that are installed together.
pub(crate) struct Environment {
    /// Name of its folder.
    name: &'static str,
    /// What is installed, to the version: a new one may find what the last one did not, and that is
    /// a change to make on purpose.
    packages: &'static [&'static str],
}

/// The Python programs that the tests run. `hypothesis` makes the data of `schemathesis`.
pub(crate) const PROGRAMS: Environment = Environment {
    name: "schemathesis",
    packages: &[
        "schemathesis==4.32.5",
        "hypothesis==6.170.15",
        "openapi-spec-validator==0.9.0",
        "boto3==1.44.8",
    ],
};

/// A double of AWS, with what its server is made of.
pub(crate) const MOTO: Environment = Environment {
    name: "moto",
    packages: &["moto[s3]==5.2.5", "flask==3.1.2", "flask-cors==6.0.1"],
};

/// A client of WHMCS that is not ours; its simulator is tested with it.
pub(crate) const WHMCS: Environment =
    Environment { name: "whmcs-client", packages: &["whmcs-api-client==1.0.32"] };

/// Names what the environment was made of; written last, so that half an installation is none.
const MARK: &str = "installed.txt";

impl Environment {
    fn folder(&self) -> PathBuf {
        run::target().join(self.name)
    }

    /// A program of it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder().join("bin").join(name)
    }

    /// Makes it unless it is there.
    pub(crate) fn ensure(&self) -> Result<(), String> {
        let folder = self.folder();
        let wanted = self.packages.join("\n");
        if fs::read_to_string(folder.join(MARK)).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        println!("missing: {}", self.packages.join(", "));
        let can_make = |module: &str| {
            run::succeeds(Command::new("python3").args(["-c", &format!("import {module}")]))
        };
        if !can_make("venv, ensurepip") {
            install::packages(&["python3", "python3-venv"])?;
        }
        self.make(&folder)?;
        let mark = folder.join(MARK);
        fs::write(&mark, wanted)
            .map_err(|error| format!("cannot write {}: {error}", mark.display()))
    }

    fn make(&self, folder: &Path) -> Result<(), String> {
        if folder.exists() {
            fs::remove_dir_all(folder)
                .map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
        }
        run::shown(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let pip = ["install", "--quiet", "--disable-pip-version-check", "--retries", "3"];
        run::shown(Command::new(folder.join("bin/pip")).args(pip).args(self.packages)).map_err(
            |why| {
                format!("{why}; the registry of Python packages must be reachable the first time")
            },
        )
    }
}
