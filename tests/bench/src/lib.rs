//! Measures what the server promises, on the machine at hand.
//!
//! Ratios compare two things of one run, by the same client at the same concurrency, so that they
//! mean the same on a slow machine and on a fast one. Nothing here fails because a figure is short:
//! it is printed as short. What could not be measured is printed as such, never guessed.

mod bare;
mod closing;
mod connections;
mod database;
mod doors;
mod engines;
mod facade;
mod facts;
mod figure;
mod front;
mod hops;
mod keys;
mod load;
mod objects;
mod orders;
mod parts;
mod ranked;
mod rankings;
mod raw;
mod rolled;
mod start;
mod usage;
mod visible;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use stowage_testkit::Process;

use figure::Figure;

/// One client calls as fast as it can. Calls are still counted, so that this is measured too.
const RATES_OUT_OF_REACH: &[(&str, &str)] = &[
    ("STOWAGE_GATEWAY_TOKEN_CALLS_PER_SECOND", "1000000"),
    ("STOWAGE_GATEWAY_TOKEN_CALLS_BURST", "1000000"),
    ("STOWAGE_GATEWAY_ADDRESS_CALLS_PER_SECOND", "1000000"),
    ("STOWAGE_GATEWAY_ADDRESS_CALLS_BURST", "1000000"),
];

/// Measures a release build of stowage and prints a table.
#[derive(Debug, Parser)]
#[command(name = "stowage-bench")]
struct Flags {
    /// The program to measure; default: `stowage` beside this one
    #[arg(long)]
    server: Option<PathBuf>,
    /// Orders to place
    #[arg(long, default_value_t = 2_000)]
    orders: usize,
    /// Seconds that each side of the facade's ratio is measured for, three times
    #[arg(long, default_value_t = 3)]
    facade_seconds: u64,
    /// Size of the big object, in MiB
    #[arg(long, default_value_t = 1024)]
    object_mib: u32,
    /// Keys in the big bucket
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// Small objects that the engines are compared by
    #[arg(long, default_value_t = 10_000)]
    small: usize,
    /// Measure the embedded S3 beside a Ceph RADOS Gateway alone
    #[arg(long)]
    only_engines: bool,
    /// Measure the parts in processes of their own alone
    #[arg(long)]
    only_parts: bool,
    /// Measure closing and verifying alone
    #[arg(long)]
    only_closing: bool,
    /// Subscriptions to close
    #[arg(long, default_value_t = 100_000)]
    subscriptions: i64,
    /// Measure the metering front alone
    #[arg(long)]
    only_front: bool,
    /// Measure taking facts alone
    #[arg(long)]
    only_facts: bool,
    /// Facts that are stored when the cost of one is measured again
    #[arg(long, default_value_t = 10_000_000)]
    facts: i64,
    /// Measure how soon facts show over RabbitMQ alone
    #[arg(long)]
    only_visible: bool,
    /// Measure rankings of accounts alone
    #[arg(long)]
    only_rankings: bool,
    /// Rank on this database alone: PostgreSQL or SQLite
    #[arg(long, value_parser = rankings::DATABASES)]
    ranked_on: Option<String>,
    /// Accounts that are ranked, after a tenth of them
    #[arg(long, default_value_t = 100_000)]
    accounts: i64,
    /// Months of figures that they have, at least 5
    #[arg(long, default_value_t = 13)]
    months: i32,
    /// Seconds that rankings are asked for, with each number of accounts
    #[arg(long, default_value_t = 60)]
    ranking_seconds: u64,
    /// Serve the bare handler instead: what the facade is compared with
    #[arg(long, hide = true)]
    bare: bool,
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let flags = Flags::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("stowage-bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    if flags.bare {
        runtime.block_on(bare::serve());
        return ExitCode::SUCCESS;
    }
    let figures = runtime.block_on(measure(&flags));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("Measured on {cores} cores, the clients on the same ones.\n");
    println!("{}", figure::table(&figures));
    ExitCode::SUCCESS
}

async fn measure(flags: &Flags) -> Vec<Figure> {
    let program = flags.server.clone().unwrap_or_else(stowage_testkit::program);
    let mut figures = Vec::new();
    let mut add = |found: Vec<Figure>| {
        for figure in found {
            // A run that is broken off has said what it found.
            eprintln!("so far: {figure}");
            figures.push(figure);
        }
    };
    if flags.only_front {
        add(front::measure().await);
        return figures;
    }
    if flags.only_facts {
        add(facts::measure(program, flags.facts).await);
        return figures;
    }
    if flags.only_visible {
        add(visible::measure(program).await);
        return figures;
    }
    if flags.only_rankings {
        let is_asked = |name: &&str| flags.ranked_on.as_deref().is_none_or(|only| only == *name);
        for name in rankings::DATABASES.into_iter().filter(is_asked) {
            add(rankings::measure(&program, rankings_of(flags), name).await);
        }
        return figures;
    }
    if flags.only_closing {
        add(closing::of_parts(program, flags.subscriptions).await);
        return figures;
    }
    if flags.only_parts {
        add(parts::measure(program, flags).await);
        return figures;
    }
    let mut server = Process::start_program(program.clone(), RATES_OUT_OF_REACH).await;
    if flags.only_engines {
        add(engines::measure(&server, flags).await);
        return figures;
    }
    add(start::measure(&mut server).await);
    add(vec![connections::measure(&server).await]);
    let site = &server.site;
    add(orders::measure(site, orders_of_one(flags.orders)).await);
    add(vec![facade::measure(site, flags.facade_seconds).await]);
    add(doors::measure(site, flags.facade_seconds).await);
    add(vec![usage::measure(site).await]);
    add(objects::measure(site, flags.object_mib).await);
    add(keys::measure(site, flags.keys).await);
    add(engines::measure(&server, flags).await);
    drop(server);
    add(front::measure().await);
    add(parts::measure(program.clone(), flags).await);
    add(closing::of_parts(program.clone(), flags.subscriptions).await);
    add(facts::measure(program.clone(), flags.facts).await);
    for name in rankings::DATABASES {
        add(rankings::measure(&program, rankings_of(flags), name).await);
    }
    add(visible::measure(program).await);
    figures
}

fn rankings_of(flags: &Flags) -> rankings::Size {
    let Flags { accounts, months, ranking_seconds: seconds, .. } = *flags;
    rankings::Size { accounts, months, seconds }
}

/// What is promised of orders in one process.
fn orders_of_one(orders: usize) -> orders::Load {
    let p99 = Duration::from_millis(50);
    orders::Load { place: "", orders, evenly: 100, p99, p99_at_once: Some(p99), rate: 200.0 }
}
