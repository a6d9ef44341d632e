//! The file: each setting is tried alone, so that one run names every fault. Settings that only
//! make sense together, such as those of a webhook, are tried with the others of their table.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::Config;

/// What the fault of a setting begins with that needs others of its table.
const LACKS: &str = "missing field";
/// Shortest path of a table whose settings may need each other: a section's own table.
const TOGETHER_FROM: usize = 2;

type Leaf = (Vec<String>, Value);

/// Reads the file. A faulty setting is reported and left out.
pub(super) fn read(path: &Path, faults: &mut Vec<String>) -> Table {
    let shown = path.display();
    let parsed = std::fs::read_to_string(path)
        .map_err(|error| format!("STOWAGE_CONFIG: {shown} cannot be read: {error}"))
        .and_then(|text| {
            text.parse::<Table>().map_err(|e| format!("{shown} is not TOML: {}", e.message()))
        });
    let file = match parsed {
        Ok(file) => file,
        Err(fault) => {
            faults.push(fault);
            return Table::new();
        }
    };
    let (mut table, mut incomplete) = (Table::new(), Vec::new());
    for (path, value) in leaves(&file) {
        match try_alone(&path, &value) {
            Ok(()) => set(&mut table, &path, value),
            Err(why) if why.starts_with(LACKS) && path.len() > TOGETHER_FROM => {
                incomplete.push((path, value));
            }
            Err(why) => faults.push(format!("{shown}: {}: {why}", path.join("."))),
        }
    }
    for (path, why) in take_together(incomplete, &mut table) {
        faults.push(format!("{shown}: {}: {why}", path.join(".")));
    }
    table
}

/// Tries settings with the others of their table, then with those of the table around it, and so
/// on. Answers the tables that still lack something, with what.
fn take_together(mut left: Vec<Leaf>, into: &mut Table) -> Vec<(Vec<String>, String)> {
    let longest = left.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
    for depth in (TOGETHER_FROM..longest).rev() {
        let (ripe, shorter): (Vec<Leaf>, Vec<Leaf>) =
            left.into_iter().partition(|(path, _)| path.len() > depth);
        left = shorter;
        for leaves in by_table(ripe, depth).into_values() {
            match try_together(&leaves) {
                Ok(()) => leaves.into_iter().for_each(|(path, value)| set(into, &path, value)),
                Err(_) => left.extend(leaves),
            }
        }
    }
    let lacking = by_table(left, TOGETHER_FROM).into_values().map(|leaves| {
        let why = try_together(&leaves).err().unwrap_or_default();
        (shared_path(&leaves), why)
    });
    lacking.collect()
}

/// Settings by the first parts of their paths.
fn by_table(leaves: Vec<Leaf>, depth: usize) -> BTreeMap<Vec<String>, Vec<Leaf>> {
    let mut tables: BTreeMap<Vec<String>, Vec<Leaf>> = BTreeMap::new();
    for (path, value) in leaves {
        tables.entry(path[..depth].to_vec()).or_default().push((path, value));
    }
    tables
}

fn try_together(leaves: &[Leaf]) -> Result<(), String> {
    let mut table = Table::new();
    leaves.iter().for_each(|(path, value)| set(&mut table, path, value.clone()));
    read_config(table)
}

/// The table that all of them are in.
fn shared_path(leaves: &[Leaf]) -> Vec<String> {
    let Some((first, _)) = leaves.first() else { return Vec::new() };
    let is_shared = |at: &usize| leaves.iter().all(|(path, _)| path.get(*at) == first.get(*at));
    let length = (0..first.len() - 1).take_while(is_shared).count();
    first[..length].to_vec()
}

/// Every setting of a file with its path. An empty section counts, so that an unknown one is seen.
fn leaves(table: &Table) -> Vec<Leaf> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                for (mut path, leaf) in leaves(inner) {
                    path.insert(0, key.clone());
                    found.push((path, leaf));
                }
            }
            other => found.push((vec![key.clone()], other.clone())),
        }
    }
    found
}

/// Whether a setting is good whatever else is set.
pub(super) fn try_alone(path: &[String], value: &Value) -> Result<(), String> {
    let mut table = Table::new();
    set(&mut table, path, value.clone());
    read_config(table)
}

fn read_config(table: Table) -> Result<(), String> {
    match table.try_into::<Config>() {
        Ok(_) => Ok(()),
        Err(error) => Err(error.message().trim().replace('\n', " ")),
    }
}

/// Puts a setting at its path.
pub(super) fn set(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, rest @ ..] => {
            let inner = table.entry(section.clone()).or_insert_with(|| Table::new().into());
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}
