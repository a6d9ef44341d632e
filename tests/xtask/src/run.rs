//! Running programs: always shown, always with their exit code looked at.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Most lines that are kept of a program's output.
const KEPT_LINES_MAX: usize = 200;

/// The top folder of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    // What cargo told this program of itself. Build scripts that look at it would run anew, and all
    // that stands on them, each time somebody builds without it.
    for (name, _) in std::env::vars_os() {
        let starts = |of: &str| name.to_string_lossy().starts_with(of);
        if starts("CARGO_PKG_") || starts("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Whether `program` can be started: it is on the path.
pub(crate) fn is_on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether the command ends well; what it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs the command with its output shown.
pub(crate) fn shown(command: &mut Command) -> Result<(), String> {
    println!("$ {}", text_of(command));
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start `{}`: {error}", text_of(command)))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` ended with {status}", text_of(command)))
}

/// Runs the command with its output shown, and keeps the lines that `keep` picks, from either
/// stream, whether the command ended well or not.
pub(crate) fn shown_and_kept(
    command: &mut Command,
    keep: fn(&str) -> bool,
) -> (Result<(), String>, Vec<String>) {
    println!("$ {}", text_of(command));
    let text = text_of(command);
    let spawned =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return (Err(format!("cannot start `{text}`: {error}")), Vec::new()),
    };
    let kept = Arc::new(Mutex::new(Vec::new()));
    let mut readers = Vec::new();
    if let Some(stream) = child.stdout.take() {
        readers.push(copy_lines(stream, std::io::stdout(), keep, &kept));
    }
    if let Some(stream) = child.stderr.take() {
        readers.push(copy_lines(stream, std::io::stderr(), keep, &kept));
    }
    let outcome = match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{text}` ended with {status}")),
        Err(error) => Err(format!("`{text}` could not be waited for: {error}")),
    };
    for reader in readers {
        // A reader ends with its stream; it has nothing to say beyond what it kept.
        let _ = reader.join();
    }
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    (outcome, kept)
}

fn copy_lines(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    keep: fn(&str) -> bool,
    kept: &Arc<Mutex<Vec<String>>>,
) -> thread::JoinHandle<()> {
    let kept = Arc::clone(kept);
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // Nobody reads our output any more: the command goes on all the same.
            let _ = writeln!(to, "{line}");
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if keep(&line) && kept.len() < KEPT_LINES_MAX {
                kept.push(line);
            }
        }
    })
}

/// The command as one would type it.
fn text_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or_else(|| OsStr::new("?")).to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_streams_are_kept_and_the_exit_code_is_told() {
        let script = "echo kept one; echo dropped; echo kept two >&2; exit 3";
        let mut command = Command::new("sh");
        let (outcome, mut kept) =
            shown_and_kept(command.args(["-c", script]), |line| line.starts_with("kept"));
        kept.sort();
        assert_eq!(kept, ["kept one", "kept two"]);
        assert!(outcome.unwrap_err().contains("exit status: 3"));
    }

    #[test]
    fn a_program_that_is_absent_is_an_error_that_names_it() {
        let error = shown(&mut Command::new("stowage-no-such-program")).unwrap_err();
        assert!(error.contains("stowage-no-such-program"), "{error}");
        assert!(!is_on_path("stowage-no-such-program"));
        assert!(is_on_path("sh"));
    }
}
