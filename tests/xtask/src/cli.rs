//! The command line of `cargo xtask`.

use crate::{bench, chaos, test};

const USAGE: &str = "usage:
  cargo xtask test [--only STAGE]                     everything that must pass, or one stage:
                                                      fmt, layout, clippy, tests; postgres, amqp,
                                                      resilience, aws, ceph, garage
  cargo xtask test --engine aws|ceph|garage           the same stages by what they are about
  cargo xtask bench [-- FLAGS]                        measures the release build, writes the table
  cargo xtask chaos [--kills N] [--seed N]            kills the server under load, 1000 times
                    [--only-s3]                       under that of its embedded S3 alone";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Run the checks; with a stage, that one only.
    Test { only: Option<test::Stage> },
    /// Measure; the flags go to the bench binary.
    Bench { flags: Vec<String> },
    /// Kill the server under load; without a seed, by one that is printed.
    Chaos { load: chaos::Load, kills: u64, seed: Option<u64> },
    /// Print the usage.
    Help,
}

/// Reads the arguments after `cargo xtask`.
pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => Ok(Command::Test { only: None }),
        ["test", "--only", stage] => match test::Stage::from_name(stage) {
            Some(stage) => Ok(Command::Test { only: Some(stage) }),
            None => Err(format!("there is no stage {stage:?}\n{USAGE}")),
        },
        ["test", "--engine", engine] => match test::Stage::of_engine(engine) {
            Some(stage) => Ok(Command::Test { only: Some(stage) }),
            None => Err(format!("there is no engine {engine:?} with a stage of its own\n{USAGE}")),
        },
        ["bench"] => Ok(Command::Bench { flags: Vec::new() }),
        ["bench", "--", flags @ ..] => {
            Ok(Command::Bench { flags: flags.iter().map(ToString::to_string).collect() })
        }
        ["chaos", flags @ ..] => parse_chaos(flags),
        ["help" | "--help" | "-h"] | [] => Ok(Command::Help),
        _ => Err(format!("cannot read {words:?}\n{USAGE}")),
    }
}

fn parse_chaos(flags: &[&str]) -> Result<Command, String> {
    let (mut load, mut kills, mut seed) = (chaos::Load::Orders, chaos::KILLS, None);
    let rest: Vec<&str> = flags.iter().copied().filter(|flag| *flag != "--only-s3").collect();
    if rest.len() < flags.len() {
        load = chaos::Load::Objects;
    }
    for pair in rest.chunks(2) {
        let number =
            |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number\n{USAGE}"));
        match pair {
            ["--kills", text] => kills = number(text)?,
            ["--seed", text] => seed = Some(number(text)?),
            _ => return Err(format!("cannot read {pair:?}\n{USAGE}")),
        }
    }
    Ok(Command::Chaos { load, kills, seed })
}

/// Does what was asked for.
pub(crate) fn dispatch(command: Command) -> Result<(), String> {
    match command {
        Command::Test { only } => test::run(only),
        Command::Bench { flags } => bench::run(&flags),
        Command::Chaos { load, kills, seed } => chaos::run(load, kills, seed),
        Command::Help => {
            println!("{USAGE}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::Load;

    #[test]
    fn arguments_are_read_or_refused() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let only = |stage| Ok(Command::Test { only: Some(stage) });
        let chaos = |load, kills, seed| Ok(Command::Chaos { load, kills, seed });
        for (text, expected) in [
            ("test", Ok(Command::Test { only: None })),
            ("test --only fmt", only(test::Stage::Fmt)),
            ("test --only layout", only(test::Stage::Layout)),
            ("test --only clippy", only(test::Stage::Clippy)),
            ("test --only tests", only(test::Stage::Tests)),
            ("test --only postgres", only(test::Stage::Postgres)),
            ("test --only amqp", only(test::Stage::Amqp)),
            ("test --only aws", only(test::Stage::Aws)),
            ("test --only ceph", only(test::Stage::Ceph)),
            ("test --only garage", only(test::Stage::Garage)),
            ("test --engine aws", only(test::Stage::Aws)),
            ("test --engine ceph", only(test::Stage::Ceph)),
            ("test --engine garage", only(test::Stage::Garage)),
            ("bench -- --keys 10", Ok(Command::Bench { flags: words("--keys 10") })),
            ("chaos", chaos(Load::Orders, 1000, None)),
            ("chaos --seed 7 --kills 5", chaos(Load::Orders, 5, Some(7))),
            ("chaos --only-s3", chaos(Load::Objects, 1000, None)),
            ("chaos --kills 5 --only-s3", chaos(Load::Objects, 5, None)),
            ("help", Ok(Command::Help)),
        ] {
            assert_eq!(parse(&words(text)), expected, "{text}");
        }
        for text in [
            "test --only all",
            "test --engine fmt",
            "test fast",
            "tests",
            "bench --keys 10",
            "chaos --seed",
            "chaos 5",
            "chaos --kills --only-s3",
        ] {
            assert!(parse(&words(text)).is_err(), "{text}");
        }
    }
}
