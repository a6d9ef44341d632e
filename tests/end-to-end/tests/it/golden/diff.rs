//! The difference of two texts, line by line.

/// The lines of both, each marked: `-` only expected, `+` only found.
pub(crate) fn lines(expected: &str, found: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), found.lines().collect());
    // Length of the longest common sequence of what follows each pair of lines.
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i][j] = if left[i] == right[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut text = String::new();
    while i < left.len() || j < right.len() {
        let mut mark = |sign: char, line: &str| text.push_str(&format!("  {sign} {line}\n"));
        if i < left.len() && j < right.len() && left[i] == right[j] {
            mark(' ', left[i]);
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && common[i + 1][j] >= common[i][j + 1]) {
            mark('-', left[i]);
            i += 1;
        } else {
            mark('+', right[j]);
            j += 1;
        }
    }
    text
}

#[test]
fn only_lines_that_differ_are_marked() {
    assert_eq!(lines("a\nb\nc\n", "a\nx\nc\nd\n"), "    a\n  - b\n  + x\n    c\n  + d\n");
}
