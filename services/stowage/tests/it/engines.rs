//! What engines can do, as the page of engines shows it.

use std::fs;
use std::path::{Path, PathBuf};

use stowage_engine::{AdoptionSupport, BucketNamespace, Capabilities, QuotaSupport};

/// Set to write the table instead of comparing it.
const UPDATE: &str = "UPDATE_GOLDENS";
const BEGIN: &str =
    "<!-- capabilities: written by `UPDATE_GOLDENS=1 cargo nextest run -p stowage engines` -->\n";
const END: &str = "<!-- end of capabilities -->";

const ENGINES: [Capabilities; 4] = [
    stowage_engine_embedded::CAPABILITIES,
    stowage_engine_ceph::CAPABILITIES,
    stowage_engine_garage::CAPABILITIES,
    stowage_engine_aws::CAPABILITIES,
];

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage/engines/README.md")
}

fn quota(support: QuotaSupport) -> &'static str {
    match support {
        QuotaSupport::Exact => "exact",
        QuotaSupport::Approximate => "approximate",
        QuotaSupport::Sampled => "sampled",
        QuotaSupport::Absent => "absent",
    }
}

fn adoption(support: AdoptionSupport) -> &'static str {
    match support {
        AdoptionSupport::Bounded => "yes",
        AdoptionSupport::Unbounded => "yes, without bounds of the account",
        AdoptionSupport::Absent => "no",
    }
}

fn yes(can: bool) -> &'static str {
    if can { "yes" } else { "no" }
}

fn many(max: Option<u32>) -> &'static str {
    match max {
        None => "any number",
        Some(2) => "two",
        Some(_) => "some",
    }
}

/// A row for each field: a new one does not compile without.
fn rows(of: Capabilities) -> Vec<(&'static str, &'static str)> {
    let Capabilities {
        engine,
        quota: bytes,
        object_quota,
        bucket_quota,
        read_only,
        bucket_limit,
        traffic,
        immediate_figures,
        changes_at_once,
        deletions_at_once,
        keys_reusable,
        adopts,
        issues_keys,
        keys_max,
        client_buckets,
        key_usage,
        cuts_transfers,
        unfinished_apart,
        slash_keys,
        namespace,
        presign,
        capacity,
    } = of;
    vec![
        ("", engine),
        ("quota of an account in bytes", quota(bytes)),
        ("quota of an account in objects", quota(object_quota)),
        ("quota of a bucket", quota(bucket_quota)),
        ("limit of buckets", yes(bucket_limit)),
        ("read-only accounts", yes(read_only)),
        ("transfers under way end with the account's access", yes(cuts_transfers)),
        ("a key that was removed may come again", yes(keys_reusable)),
        ("adopts who was there before", adoption(adopts)),
        ("makes keys itself, and takes no others", yes(issues_keys)),
        ("keys of an account at once", many(keys_max)),
        ("customers make buckets over S3", yes(client_buckets)),
        ("tells when keys were used", yes(key_usage)),
        (
            "bucket names are unique",
            match namespace {
                BucketNamespace::Engine => "on the engine",
                BucketNamespace::Account => "in the account",
            },
        ),
        ("signs URLs", yes(presign)),
        ("counts traffic", yes(traffic)),
        ("figures are exact at once", yes(immediate_figures)),
        ("tells of changes at once", yes(changes_at_once)),
        ("tells of deleted buckets at once", yes(deletions_at_once)),
        ("tells unfinished uploads from objects", yes(unfinished_apart)),
        ("keys may be of slashes alone", yes(slash_keys)),
        ("tells its room", yes(capacity)),
    ]
}

fn table() -> String {
    let engines = ENGINES.map(rows);
    let mut text = String::new();
    for (at, (what, _)) in engines[0].iter().enumerate() {
        let cells: Vec<_> = engines.iter().map(|engine| engine[at].1).collect();
        text.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
        if at == 0 {
            text.push_str(&format!("|{}\n", "---|".repeat(cells.len() + 1)));
        }
    }
    text
}

#[test]
fn the_page_of_engines_says_what_each_can_do() {
    let page = page();
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has the marker");
    let (told, after) = rest.split_once(END).expect("the page has the end marker");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&page, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(told, table(), "write it anew as the marker says");
}
