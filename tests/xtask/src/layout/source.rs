//! Just enough reading of Rust's text: what is code, where functions begin and end, and which
//! lines are tests.

use std::ops::RangeInclusive;

/// The text with comments, strings and character literals blanked out, line for line and
/// character for character, so that positions stay what they were.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of_line(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_block_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            'r' if !follows_word(&chars, at) => end_of_raw_string(&chars, at),
            '\'' => end_of_char(&chars, at),
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            let blanked = chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' });
            code.extend(blanked);
            at = end;
        }
    }
    code
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
}

/// Block comments nest.
fn end_of_block_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth.saturating_sub(1), i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// `r"…"`, `r#"…"#` and so on; `at` itself when it is none (`r#type`, or a word).
fn end_of_raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let is_end = |i: &usize| {
        chars[*i] == '"'
            && chars[*i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    let first = at + 2 + hashes;
    (first..chars.len()).find(is_end).map_or(chars.len(), |i| i + 1 + hashes)
}

/// A character literal; `at` itself for a lifetime.
fn end_of_char(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), Some(_)) => {
            (at + 3..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |i| i + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Whether the character before `at` belongs to the same word. A `b` or `c` before `r` is the
/// beginning of a raw byte or C string, so it does not count.
fn follows_word(chars: &[char], at: usize) -> bool {
    let is_word = |i: usize| chars[i].is_alphanumeric() || chars[i] == '_';
    match at {
        0 => false,
        1 => is_word(0) && !"bc".contains(chars[0]),
        _ => is_word(at - 1) && (!"bc".contains(chars[at - 1]) || is_word(at - 2)),
    }
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// From the line of `fn` to the line of the closing brace; the first line is 1.
    pub(crate) lines: RangeInclusive<usize>,
}

/// Every function with a body in `code`, which went through [`code_of`].
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    for at in positions_of_word(&chars, "fn") {
        let name: String = chars[at + 2..]
            .iter()
            .skip_while(|c| c.is_whitespace())
            .take_while(|c| c.is_alphanumeric() || **c == '_')
            .collect();
        // `fn(u8) -> u8` is a type.
        if name.is_empty() {
            continue;
        }
        if let Some(end) = opening_brace(&chars, at).and_then(|open| closing_brace(&chars, open)) {
            found.push(Function { name, lines: line_of(&chars, at)..=line_of(&chars, end) });
        }
    }
    found
}

/// Lines of modules under `#[cfg(test)]`.
pub(crate) fn test_lines(code: &str) -> Vec<RangeInclusive<usize>> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    for at in positions_of(&chars, "#[cfg(test)]") {
        if let Some(end) = opening_brace(&chars, at).and_then(|open| closing_brace(&chars, open)) {
            found.push(line_of(&chars, at)..=line_of(&chars, end));
        }
    }
    found
}

/// Names of modules under `#[cfg(test)]` whose text is in a file of its own.
pub(crate) fn test_files(code: &str) -> Vec<String> {
    code.split("#[cfg(test)]")
        .skip(1)
        .filter_map(|rest| {
            let (head, _) = rest.split_once(';')?;
            let (_, name) = head.rsplit_once("mod ")?;
            let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
            is_name.then(|| name.to_owned())
        })
        .collect()
}

/// Where `needle` begins, in characters.
fn positions_of(chars: &[char], needle: &str) -> Vec<usize> {
    let needle: Vec<char> = needle.chars().collect();
    let last = (chars.len() + 1).saturating_sub(needle.len());
    (0..last).filter(|i| chars[*i..].starts_with(&needle)).collect()
}

/// Where the word `word` stands by itself.
fn positions_of_word(chars: &[char], word: &str) -> Vec<usize> {
    let is_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let mut found = positions_of(chars, word);
    found.retain(|at| {
        let before = at.checked_sub(1).and_then(|i| chars.get(i));
        // `r#fn` is a name.
        !is_word(before) && before != Some(&'#') && !is_word(chars.get(at + word.len()))
    });
    found
}

/// The brace that opens the body of the item at `from`; `None` if a semicolon ends it first.
fn opening_brace(chars: &[char], from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (i, c) in chars.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(i),
            _ => {}
        }
    }
    None
}

fn closing_brace(chars: &[char], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, c) in chars.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(i),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn line_of(chars: &[char], at: usize) -> usize {
    1 + chars[..at].iter().filter(|c| **c == '\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        for (text, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"{", y)"#, "f(      , y)"),
            (r##"f(r#"x"{"#, y)"##, "f(        , y)"),
            (r#"f(br"\", y)"#, "f(b    , y)"),
            ("'{' '\\'' '\\u{7f}' 'a", "                  'a"),
            ("fn r<'a>(x: &'a str)", "fn r<'a>(x: &'a str)"),
            ("r#type for_r", "r#type for_r"),
        ] {
            assert_eq!(code_of(text), expected, "{text}");
            assert_eq!(code_of(text).chars().count(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn functions_are_found_with_their_lines() {
        let code = "trait T {\n    fn declared(&self);\n    fn given(&self) -> [u8; 2] {\n        \
                    [0; 2]\n    }\n}\ntype F = fn(u8) -> u8;\nfn outer() {\n    fn inner() {}\n}\n";
        let found = functions(code);
        let text: Vec<String> = found.iter().map(|f| format!("{} {:?}", f.name, f.lines)).collect();
        assert_eq!(text, ["given 3..=5", "outer 8..=10", "inner 9..=9"]);
    }

    #[test]
    fn test_modules_are_told_apart() {
        let code =
            "fn a() {}\n#[cfg(test)]\n#[path = \"\"]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        assert_eq!(test_lines(code), [2..=6]);
        let code = "#[cfg(test)]\nmod matrix;\n\n#[cfg(test)]\npub(crate) mod kit;\nmod real;\n";
        assert_eq!(test_files(code), ["matrix", "kit"]);
        assert_eq!(test_lines(code), []);
    }
}
