//! The rules of how this repository is laid out, checked on the text of its files.
//!
//! What the compiler or clippy can check is left to them (`unsafe`, parameters, banned calls);
//! here is what they do not know: lengths, which crate may name which, which files must be there.
//! Text is enough for that. Parsing Rust properly would need a dependency on every clean run.

mod crates;
mod rust;
mod source;
mod tree;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    /// Relative to the top folder.
    path: String,
    /// 1 for the first line; `None`: the file as a whole.
    line: Option<usize>,
    /// What is wrong, and what is asked for.
    why: String,
}

impl Fault {
    fn of_file(path: &str, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, why: why.into() }
    }

    fn at(path: &str, line: usize, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), why: why.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.why),
            None => write!(f, "{}: {}", self.path, self.why),
        }
    }
}

/// A text file of the repository.
#[derive(Debug)]
struct Text {
    /// Relative to the top folder, with `/`.
    path: String,
    content: String,
}

/// Checks the repository at `root`: how many files were read, and every fault, in order.
pub(crate) fn check(root: &Path) -> Result<(usize, Vec<Fault>), String> {
    let texts = read_all(root)?;
    let mut faults = rust::check(&texts);
    faults.extend(texts.iter().filter(|text| text.path.ends_with(".proto")).flat_map(long_lines));
    faults.extend(crates::check(&texts));
    faults.extend(tree::check(&tree::top_level(root)?, &texts));
    faults.sort();
    Ok((texts.len(), faults))
}

/// Whether any comment holds an example that rustdoc would run.
pub(crate) fn has_doc_tests(root: &Path) -> Result<bool, String> {
    Ok(read_all(root)?.iter().any(rust::has_doc_test))
}

/// Longest line, in characters.
const LINE_MAX: usize = 100;

fn long_lines(text: &Text) -> Vec<Fault> {
    let lines = text.content.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let length = line.chars().count();
            (length > LINE_MAX).then(|| {
                let why = format!("{length} characters; at most {LINE_MAX}");
                Fault::at(&text.path, index + 1, why)
            })
        })
        .collect()
}

/// Every file whose text a rule may look at, ordered by path.
fn read_all(root: &Path) -> Result<Vec<Text>, String> {
    let mut paths = Vec::new();
    for folder in ["proto", "services", "gateway", "tests"] {
        find_files(&root.join(folder), &mut paths)?;
    }
    paths.push(root.join("Cargo.toml"));
    paths.push(root.join("README.md"));
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        match fs::read_to_string(&path) {
            Ok(content) => texts.push(Text { path: relative, content }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot read {relative}: {error}")),
        }
    }
    Ok(texts)
}

fn find_files(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let has_rules = [".rs", ".proto", ".toml", ".md"].iter().any(|end| name.ends_with(end));
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                find_files(&path, into)?;
            }
        } else if has_rules {
            into.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_measured_in_characters() {
        let text = |line: String| Text { path: "a.proto".to_owned(), content: line };
        assert_eq!(long_lines(&text("é".repeat(100))), []);
        let faults = long_lines(&text(format!("short\n{}\n", "é".repeat(101))));
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].to_string(), "a.proto:2: 101 characters; at most 100");
    }
}
