//! Which files must be there, and which must not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Fault, Text};

/// What the top folder may hold beside files that begin with a dot.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "docker-compose.yml",
    "gateway",
    "proto",
    "rust-toolchain.toml",
    "services",
    "tests",
];

/// Roles whose crates have the three layers. The gateway is built otherwise.
const ROLES: &[&str] = &["accounts", "billing", "metering", "storage"];

/// Layers of a role, outermost first.
const LAYERS: [&str; 3] = ["grpc", "domain", "store"];

/// Names in the top folder, without those that `.gitignore` names.
pub(crate) fn top_level(root: &Path) -> Result<Vec<String>, String> {
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let is_ignored = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", root.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(root).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name().to_string_lossy().into_owned();
        if !is_ignored(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Checks the names in the top folder, and which files there are below it.
pub(crate) fn check(top_level: &[String], texts: &[Text]) -> Vec<Fault> {
    let paths: BTreeSet<&str> = texts.iter().map(|text| text.path.as_str()).collect();
    let mut faults = Vec::new();
    for name in top_level {
        if !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) {
            faults.push(Fault::of_file(name, "does not belong in the top folder"));
        }
    }
    for path in pages() {
        if !paths.contains(path.as_str()) {
            faults.push(Fault::of_file(&path, "is missing"));
        }
    }
    for role in ROLES {
        faults.extend(check_layers(&format!("services/{role}/src"), &paths));
    }
    faults
}

/// The pages that must be there: one for each place where somebody begins to read.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "services/README.md", "gateway/README.md", "tests/README.md"]
            .iter()
            .map(ToString::to_string)
            .collect();
    pages.push("tests/bench/README.md".to_owned());
    pages.extend(ROLES.iter().map(|role| format!("services/{role}/README.md")));
    pages
}

/// What a file of `grpc` translates is ruled by the file of the same name in `domain`. `domain`
/// may have more, for rules that no RPC is about; `store` has a file for each table or read model,
/// which need not be a resource: buckets, say, live in the engine.
fn check_layers(source: &str, paths: &BTreeSet<&str>) -> Vec<Fault> {
    let names = |layer: &str| -> BTreeSet<&str> {
        let folder = format!("{source}/{layer}/");
        paths
            .iter()
            .filter_map(|path| path.strip_prefix(&folder)?.strip_suffix(".rs"))
            .filter(|name| !name.contains('/') && !["mod", "tests"].contains(name))
            .collect()
    };
    let mut faults = Vec::new();
    for layer in LAYERS {
        if names(layer).is_empty() {
            faults.push(Fault::of_file(&format!("{source}/{layer}"), "has no resources"));
        }
    }
    for name in names("grpc").difference(&names("domain")) {
        let path = format!("{source}/domain/{name}.rs");
        faults.push(Fault::of_file(&path, "is missing: grpc has a file of that name"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Vec<String> {
        let mut paths: Vec<String> = [
            "README.md",
            "services/README.md",
            "gateway/README.md",
            "tests/README.md",
            "tests/bench/README.md",
        ]
        .map(ToOwned::to_owned)
        .to_vec();
        for role in ROLES {
            paths.push(format!("services/{role}/README.md"));
            for layer in LAYERS {
                paths.push(format!("services/{role}/src/{layer}/thing.rs"));
                paths.push(format!("services/{role}/src/{layer}/mod.rs"));
            }
        }
        paths
    }

    fn faults_of(paths: &[String]) -> Vec<String> {
        let texts: Vec<Text> =
            paths.iter().map(|path| Text { path: path.clone(), content: String::new() }).collect();
        check(&[], &texts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_top_folder_holds_only_what_it_should() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let texts: Vec<Text> =
            complete().into_iter().map(|path| Text { path, content: String::new() }).collect();
        let good = names(&["Cargo.toml", "services", ".clippy.toml", ".ci", "docker-compose.yml"]);
        assert_eq!(check(&good, &texts), []);
        for bad in ["notes.txt", "src", "scripts"] {
            assert_eq!(check(&names(&[bad]), &texts).len(), 1, "{bad}");
        }
    }

    #[test]
    fn pages_must_be_there() {
        assert_eq!(faults_of(&complete()), [""; 0]);
        for page in
            ["README.md", "services/README.md", "services/billing/README.md", "gateway/README.md"]
        {
            let mut paths = complete();
            paths.retain(|path| path != page);
            assert_eq!(faults_of(&paths), [format!("{page}: is missing")]);
        }
    }

    #[test]
    fn each_resource_has_its_rules_beside_its_rpcs() {
        let with = |path: &str| {
            let mut paths = complete();
            paths.push(path.to_owned());
            faults_of(&paths).len()
        };
        assert_eq!(with("services/billing/src/grpc/other.rs"), 1);
        assert_eq!(with("services/billing/src/store/other.rs"), 0);
        assert_eq!(with("services/billing/src/domain/other.rs"), 0);
        assert_eq!(with("services/billing/src/domain/rules/deep.rs"), 0);
        let mut paths = complete();
        paths.retain(|path| !path.contains("billing/src/store"));
        assert_eq!(faults_of(&paths), ["services/billing/src/store: has no resources"]);
    }
}
