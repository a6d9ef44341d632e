//! `cargo xtask bench`: measures the release build and writes the table down.

use std::fs;

use crate::rabbitmq::Broker;
use crate::test::{Gateway, Scratch};
use crate::{install, postgres, run};

const PAGE: &str = "tests/bench/README.md";
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of figures -->";

/// Builds, measures, prints, and puts the table between the markers of the bench's page.
pub(crate) fn run(flags: &[String]) -> Result<(), String> {
    let build = ["build", "--release", "--locked", "-p", "stowage", "-p", "stowage-bench"];
    run::shown(run::cargo().args(build))?;
    install::broker()?;
    install::database_server()?;
    let is_of_engines = flags.iter().any(|flag| flag == "--only-engines");
    if is_of_engines {
        install::gateway()?;
    }
    let scratch = Scratch::new()?;
    let (database, broker) = (postgres::Server::start_durable()?, Broker::start(&scratch.path)?);
    // A run of all compares with one where it is installed.
    let only_others = !is_of_engines && flags.iter().any(|flag| flag.starts_with("--only-"));
    let has_gateway = !only_others && install::has_gateway();
    let gateway = has_gateway.then(|| Gateway::start_durable(&scratch.path)).transpose()?;
    let folder = run::target().join("release");
    let mut command = std::process::Command::new(folder.join("stowage-bench"));
    command.current_dir(run::root()).arg("--server").arg(folder.join("stowage")).args(flags);
    let is_figure =
        |line: &str| line.starts_with('|') || line.starts_with("Measured") || line.is_empty();
    database.at(broker.at(&mut command));
    if let Some(gateway) = &gateway {
        gateway.at(&mut command);
    }
    let (outcome, lines) = run::shown_and_kept(&mut command, is_figure);
    drop((database, broker, gateway));
    outcome?;
    if lines.is_empty() {
        return Err("the bench printed no table".to_owned());
    }
    // The table holds one whole run.
    if flags.iter().any(|flag| flag.starts_with("--only-")) {
        return Ok(());
    }
    let path = run::root().join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let page = with_table(&page, &lines.join("\n")).ok_or(format!("{PAGE} lacks the markers"))?;
    fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))?;
    println!("written to {PAGE}");
    Ok(())
}

/// The page with `table` in place of what stood between the markers.
fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_the_one_before_and_nothing_else() {
        let page = format!("# Bench\n{BEGIN}\n| old |\n{END}\nText.\n");
        let new = with_table(&page, "| new |").unwrap();
        assert_eq!(new, format!("# Bench\n{BEGIN}\n| new |\n{END}\nText.\n"));
        assert_eq!(with_table(&new, "| new |").unwrap(), new);
        assert_eq!(with_table("# Bench", "| new |"), None);
    }
}
