//! Which crate may depend on which: the walls of the house.

use std::collections::BTreeMap;

use super::{Fault, Text};

/// What a crate is, by where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `proto`.
    Contracts,
    /// `services/shared/*`.
    Shared,
    /// `services/<role>` and `gateway`.
    Role(String),
    /// `services/<role>/<family>/api`: the trait of a family of adapters.
    Api(String),
    /// `services/<role>/<family>/remote`: what adapters of other servers have in common.
    Remote(String),
    /// `services/<role>/<family>/<name>`: one adapter.
    Adapter(String),
    /// `services/<role>/front`: a listener of the role's that is none of its calls.
    Front(String),
    /// `services/stowage`.
    Binary,
    /// `tests/*`.
    Tests,
}

impl Kind {
    fn of(folder: &str) -> Option<Self> {
        let parts: Vec<&str> = folder.split('/').collect();
        match parts.as_slice() {
            ["proto"] => Some(Self::Contracts),
            ["gateway"] => Some(Self::Role("gateway".to_owned())),
            ["tests", _] => Some(Self::Tests),
            ["services", "stowage"] => Some(Self::Binary),
            ["services", "shared", _] => Some(Self::Shared),
            ["services", role] => Some(Self::Role((*role).to_owned())),
            ["services", role, "front"] => Some(Self::Front((*role).to_owned())),
            ["services", role, _, "api"] => Some(Self::Api((*role).to_owned())),
            ["services", role, _, "remote"] => Some(Self::Remote((*role).to_owned())),
            ["services", role, _, _] => Some(Self::Adapter((*role).to_owned())),
            _ => None,
        }
    }

    /// Whether a crate of this kind may depend on one of `other`; `for_tests` of its own.
    fn may_use(&self, other: &Self, for_tests: bool) -> bool {
        match (self, other) {
            (Self::Tests, _) | (_, Self::Shared) => *self != Self::Contracts,
            (Self::Binary, other) => *other != Self::Tests,
            (Self::Role(_) | Self::Shared, Self::Contracts) => true,
            (
                Self::Role(role) | Self::Adapter(role) | Self::Remote(role) | Self::Front(role),
                Self::Api(of),
            ) => role == of,
            (Self::Adapter(role) | Self::Front(role), Self::Remote(of)) => role == of,
            (Self::Role(role), Self::Front(of)) => role == of,
            // A role tests itself with a real adapter of its own rather than with a fake.
            (Self::Role(role) | Self::Front(role), Self::Adapter(of)) => role == of && for_tests,
            _ => false,
        }
    }
}

/// Checks the manifests among `texts`.
pub(crate) fn check(texts: &[Text]) -> Vec<Fault> {
    let manifests: Vec<(&str, &Text)> = texts
        .iter()
        .filter_map(|text| Some((text.path.strip_suffix("/Cargo.toml")?, text)))
        .collect();
    let mut faults = Vec::new();
    let mut kinds = BTreeMap::new();
    for (folder, text) in &manifests {
        match (package_name(&text.content), Kind::of(folder)) {
            (Some(name), Some(kind)) => {
                kinds.insert(name, kind);
            }
            (None, _) => faults.push(Fault::of_file(&text.path, "names no package")),
            (_, None) => faults.push(Fault::of_file(&text.path, "no crate belongs in this folder")),
        }
    }
    for (folder, text) in &manifests {
        let Some(kind) = Kind::of(folder) else {
            continue;
        };
        for dependency in dependencies(&text.content) {
            let Some(other) = kinds.get(&dependency.name) else {
                continue;
            };
            if !kind.may_use(other, dependency.is_for_tests) {
                let why = format!("{kind:?} may not depend on {} ({other:?})", dependency.name);
                faults.push(Fault::at(&text.path, dependency.line, why));
            }
        }
    }
    faults
}

/// One line of a table of dependencies.
#[derive(Debug, PartialEq, Eq)]
struct Dependency {
    name: String,
    line: usize,
    is_for_tests: bool,
}

/// The dependencies of a manifest, as our manifests are written: one a line.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if line.starts_with('#') || !section.ends_with("dependencies") {
            continue;
        }
        let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
        // `other = { package = "name" }` names the crate elsewhere.
        let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
        found.push(Dependency {
            name: renamed.unwrap_or(key).to_owned(),
            line: index + 1,
            is_for_tests: section.ends_with("dev-dependencies"),
        });
    }
    found
}

fn package_name(manifest: &str) -> Option<String> {
    let (_, package) = manifest.split_once("[package]")?;
    let line = package.lines().find(|line| line.starts_with("name"))?;
    Some(line.split('"').nth(1)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a tree of crates, each given by folder and dependencies.
    fn faults_of(crates: &[(&str, &str)]) -> Vec<String> {
        let texts: Vec<Text> = crates
            .iter()
            .map(|(folder, dependencies)| Text {
                path: format!("{folder}/Cargo.toml"),
                content: format!(
                    "[package]\nname = \"{}\"\n\n{dependencies}\n",
                    folder.replace('/', "-")
                ),
            })
            .collect();
        check(&texts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn walls_stand_where_they_should() {
        let tree = [
            ("proto", ""),
            ("gateway", ""),
            ("services/shared/db", ""),
            ("services/storage", ""),
            ("services/storage/engines/api", ""),
            ("services/storage/engines/garage", ""),
            ("services/storage/engines/remote", ""),
            ("services/storage/front", ""),
            ("services/billing", ""),
            ("services/billing/providers/api", ""),
            ("services/stowage", ""),
            ("tests/testkit", ""),
        ];
        for (from, to, allowed, allowed_for_tests) in [
            ("services/storage", "services-shared-db", true, true),
            ("services/storage", "proto", true, true),
            ("services/storage", "services-storage-engines-api", true, true),
            ("services/storage", "services-storage-engines-garage", false, true),
            ("services/storage", "services-billing", false, false),
            ("services/storage", "services-billing-providers-api", false, false),
            ("services/storage", "tests-testkit", false, false),
            ("gateway", "services-billing", false, false),
            ("gateway", "services-shared-db", true, true),
            ("services/storage/engines/garage", "services-storage-engines-api", true, true),
            ("services/storage/engines/garage", "services-shared-db", true, true),
            ("services/storage/engines/garage", "services-billing-providers-api", false, false),
            ("services/storage/engines/garage", "services-storage", false, false),
            ("services/storage/engines/garage", "services-storage-engines-remote", true, true),
            ("services/storage/engines/remote", "services-storage-engines-api", true, true),
            ("services/storage/engines/remote", "services-storage-engines-garage", false, false),
            ("services/storage", "services-storage-engines-remote", false, false),
            ("services/storage", "services-storage-front", true, true),
            ("services/billing", "services-storage-front", false, false),
            ("services/storage/front", "services-storage", false, false),
            ("services/storage/front", "services-storage-engines-api", true, true),
            ("services/storage/front", "services-storage-engines-remote", true, true),
            ("services/storage/front", "services-storage-engines-garage", false, true),
            ("services/storage/engines/garage", "services-storage-front", false, false),
            ("services/storage/engines/garage", "proto", false, false),
            ("services/storage/engines/api", "services-shared-db", true, true),
            ("services/storage/engines/api", "services-storage", false, false),
            ("services/shared/db", "proto", true, true),
            ("services/shared/db", "services-storage", false, false),
            ("proto", "services-shared-db", false, false),
            ("services/stowage", "services-billing", true, true),
            ("services/stowage", "tests-testkit", false, false),
            ("tests/testkit", "services-stowage", true, true),
        ] {
            for (section, expected) in [
                ("dependencies", allowed),
                ("build-dependencies", allowed),
                ("dev-dependencies", allowed_for_tests),
            ] {
                let text = format!("[{section}]\n{to}.workspace = true\nserde = \"1\"\n");
                let mut crates = tree.to_vec();
                crates.retain(|(folder, _)| *folder != from);
                crates.push((from, &text));
                let faults = faults_of(&crates);
                assert_eq!(faults.is_empty(), expected, "{from} -> {to} in {section}: {faults:?}");
            }
        }
    }

    #[test]
    fn every_way_of_writing_a_dependency_is_read() {
        let text = "[dependencies]\na.workspace = true\n\"b\" = \"1\"\n# c = \"1\"\n\
                    d = { package = \"e\", path = \"x\" }\n[target.'cfg(unix)'.dependencies]\n\
                    f = { workspace = true }\n[features]\ng = []\n";
        let names: Vec<String> = dependencies(text).into_iter().map(|d| d.name).collect();
        assert_eq!(names, ["a", "b", "e", "f"]);
    }

    #[test]
    fn a_crate_in_an_unknown_place_is_a_fault() {
        assert_eq!(
            faults_of(&[("services/storage/extra", "")]),
            ["services/storage/extra/Cargo.toml: no crate belongs in this folder"]
        );
    }
}
