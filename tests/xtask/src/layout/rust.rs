//! Rules on the text of Rust files.

use std::collections::BTreeSet;

use super::{Fault, Text, long_lines, source};

/// Longest function, in lines from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest file, in lines.
const FILE_LINES_MAX: usize = 500;
/// Longest `main.rs`, in lines: what it starts is a library that tests start too.
const MAIN_LINES_MAX: usize = 25;

/// What must not be in code, and what is done instead.
const BANNED: &[(&str, &str)] = &[
    ("#[allow(", "use #[expect(lint, reason = \"…\")]"),
    ("#![allow(", "use #![expect(lint, reason = \"…\")]"),
    ("#[ignore", "a test runs or is not there"),
    ("todo!", "unfinished code does not land"),
    ("unimplemented!", "unfinished code does not land"),
];

/// Checks every Rust file among `texts`.
pub(crate) fn check(texts: &[Text]) -> Vec<Fault> {
    let in_test_files = test_folders(texts);
    let is_test = |path: &str| {
        is_integration_test(path) || in_test_files.iter().any(|start| path.starts_with(start))
    };
    let sources = texts.iter().filter(|text| text.path.ends_with(".rs"));
    sources.flat_map(|text| check_file(text, is_test(&text.path))).collect()
}

fn check_file(text: &Text, is_test: bool) -> Vec<Fault> {
    let code = source::code_of(&text.content);
    let mut faults = long_lines(text);
    faults.extend(check_lengths(text, &code));
    faults.extend(check_banned(&text.path, &code));
    if !is_test {
        faults.extend(check_unwrap(&text.path, &code));
    }
    faults
}

fn check_lengths(text: &Text, code: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let lines = text.content.lines().count();
    let lines_max = if text.path.ends_with("/main.rs") && !is_integration_test(&text.path) {
        MAIN_LINES_MAX
    } else {
        FILE_LINES_MAX
    };
    if lines > lines_max {
        faults.push(Fault::of_file(&text.path, format!("{lines} lines; at most {lines_max}")));
    }
    for function in source::functions(code) {
        let length = function.lines.end() - function.lines.start() + 1;
        if length > FUNCTION_LINES_MAX {
            let why = format!(
                "function {} has {length} lines; at most {FUNCTION_LINES_MAX}",
                function.name
            );
            faults.push(Fault::at(&text.path, *function.lines.start(), why));
        }
    }
    faults
}

fn check_banned(path: &str, code: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for (banned, instead) in BANNED {
            let stands_alone = |(at, _): &(usize, &str)| {
                let before = line[..*at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            };
            if line.match_indices(banned).any(|found| stands_alone(&found)) {
                faults.push(Fault::at(path, index + 1, format!("`{banned}`: {instead}")));
            }
        }
    }
    faults
}

fn check_unwrap(path: &str, code: &str) -> Vec<Fault> {
    let tests = source::test_lines(code);
    let mut faults = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let is_test = tests.iter().any(|lines| lines.contains(&(index + 1)));
        if line.contains(".unwrap()") && !is_test {
            let why = "`unwrap()` outside tests: use `expect(\"why it holds\")` or an error";
            faults.push(Fault::at(path, index + 1, why));
        }
    }
    faults
}

/// Whether the file belongs to a crate's integration tests: `…/tests/…` below a crate's folder.
fn is_integration_test(path: &str) -> bool {
    path.match_indices("/tests/").any(|(at, _)| {
        // The top folder `tests` holds crates; its own name does not count.
        !path[..at].contains("/src") && at > 0
    })
}

/// Beginnings of the paths of files that hold test modules.
fn test_folders(texts: &[Text]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in texts.iter().filter(|text| text.path.ends_with(".rs")) {
        let Some((folder, file)) = text.path.rsplit_once('/') else {
            continue;
        };
        let stem = file.trim_end_matches(".rs");
        let below = match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        for name in source::test_files(&source::code_of(&text.content)) {
            found.insert(format!("{below}/{name}.rs"));
            found.insert(format!("{below}/{name}/"));
        }
    }
    found
}

/// Whether a comment of `text` holds an example that rustdoc would run.
pub(crate) fn has_doc_test(text: &Text) -> bool {
    let mut is_inside = false;
    for line in text.content.lines().map(str::trim_start) {
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let Some(tag) = comment.and_then(|comment| comment.trim_start().strip_prefix("```")) else {
            continue;
        };
        let is_rust = ["", "rust", "no_run", "should_panic"].contains(&tag.trim());
        if !is_inside && is_rust && text.path.ends_with(".rs") {
            return true;
        }
        is_inside = !is_inside;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, content: impl Into<String>) -> Text {
        Text { path: path.to_owned(), content: content.into() }
    }

    fn faults_of(path: &str, content: impl Into<String>) -> Vec<String> {
        check(&[text(path, content)]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lengths_are_bounded() {
        let function = |lines: usize| format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines));
        assert_eq!(faults_of("a/src/x.rs", function(68)), [""; 0]);
        let faults = faults_of("a/src/x.rs", function(69));
        assert_eq!(faults, ["a/src/x.rs:1: function long has 71 lines; at most 70"]);

        assert_eq!(faults_of("a/src/x.rs", "\n".repeat(500)), [""; 0]);
        assert_eq!(faults_of("a/src/x.rs", "\n".repeat(501)).len(), 1);
        assert_eq!(faults_of("a/src/main.rs", "\n".repeat(25)), [""; 0]);
        assert_eq!(faults_of("a/src/main.rs", "\n".repeat(26)).len(), 1);
        assert_eq!(faults_of("a/tests/it/main.rs", "\n".repeat(26)), [""; 0]);
        assert_eq!(faults_of("a/src/domain.rs", "\n".repeat(26)), [""; 0]);
        assert_eq!(faults_of("a/src/x.rs", format!("// {}\n", "x".repeat(98))).len(), 1);
    }

    #[test]
    fn banned_words_are_found_in_code_only() {
        for (code, expected) in [
            ("#[allow(dead_code)]\nfn a() {}\n", 1),
            ("#![allow(dead_code)]\n", 1),
            ("#[expect(dead_code, reason = \"soon\")]\nfn a() {}\n", 0),
            ("fn a() { todo!() }\n", 1),
            ("fn a() { not_todo!() }\n", 0),
            ("fn a() { unimplemented!(\"x\") }\n", 1),
            ("#[test]\n#[ignore = \"slow\"]\nfn a() {}\n", 1),
            ("// todo!() and #[allow(x)]\nconst A: &str = \"todo!()\";\n", 0),
        ] {
            assert_eq!(faults_of("a/src/x.rs", code).len(), expected, "{code}");
        }
    }

    #[test]
    fn unwrap_is_for_tests() {
        let code = "fn a() {\n    b.unwrap();\n}\n";
        let module = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        for (path, code, expected) in [
            ("services/a/src/x.rs", code, 1),
            ("tests/a/src/x.rs", code, 1),
            ("services/a/tests/it/x.rs", code, 0),
            ("tests/a/tests/it/x.rs", code, 0),
            ("services/a/src/x.rs", module.as_str(), 0),
            ("services/a/src/x.rs", "fn a() { b.unwrap_or_default(); }", 0),
        ] {
            assert_eq!(faults_of(path, code).len(), expected, "{path} {code}");
        }
        let parent = text("a/src/x.rs", "#[cfg(test)]\nmod tests;\n");
        let child = text("a/src/x/tests.rs", code);
        assert_eq!(check(&[parent, child]), []);
    }

    #[test]
    fn examples_that_rustdoc_runs_are_told_from_others() {
        for (content, expected) in [
            ("/// ```\n/// a();\n/// ```\n", true),
            ("//! ```no_run\n//! a();\n//! ```\n", true),
            ("/// ```text\n/// a\n/// ```\n", false),
            ("/// ```sql\n/// SELECT 1\n/// ```\nfn a() {}\n", false),
            ("fn a() {}\n", false),
        ] {
            assert_eq!(has_doc_test(&text("a/src/x.rs", content)), expected, "{content}");
        }
    }
}
