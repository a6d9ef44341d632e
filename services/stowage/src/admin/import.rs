//! `stowage admin import`.
//!
//! The file says whose account each becomes; nothing is guessed, so whoever is not in it is listed
//! and left alone. Each is adopted by itself and a repeat finds what it repeats: when this command
//! is stopped, or one of them is refused, it is run again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use stowage_proto::accounts::adoption_service_client::AdoptionServiceClient;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_proto::accounts::{AdoptAccountRequest, CheckAdoptionRequest, ListCustomersRequest};
use stowage_proto::storage::adoption_service_client::AdoptionServiceClient as There;
use stowage_proto::storage::{ForeignAccount, ListForeignAccountsRequest};
use stowage_types::{CustomerId, PlanId, name};
use tonic::{Code, Status};

use super::client::{Api, Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("parent", "--location"), ("location", "--location"), ("foreign", "name")];
const MAP: &str = "--map";

/// All of them: what is not listed would not be seen to be missing.
const ALL: Limit = Limit { limit: u32::MAX };
/// Faults of a file that are told at once.
const FAULTS_MAX: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Code of the location on whose engine they are
    #[arg(long, visible_alias = "engine", value_name = "CODE")]
    location: String,
    /// CSV file with the columns name, email and plan: whose account each becomes, and the number
    /// of the plan that it is billed by; without it they are listed
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
struct Line {
    name: String,
    email: String,
    plan: String,
}

/// Whose account somebody becomes.
#[derive(Debug)]
struct Whose {
    email: String,
    plan: PlanId,
}

#[derive(Serialize)]
struct ImportRow {
    name: String,
    state: &'static str,
    s3uid: String,
    email: String,
    plan_id: Option<i64>,
    access_keys: usize,
    buckets: Vec<String>,
    quota_bytes: i64,
    bucket_max: i32,
    why: String,
}

impl Row for ImportRow {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "STATE", "S3UID", "EMAIL", "PLAN", "KEYS", "BUCKETS", "QUOTA", "WHY"];

    fn cells(&self) -> Vec<String> {
        let plan = self.plan_id.map(|plan| plan.to_string());
        let quota = (self.quota_bytes > 0).then(|| self.quota_bytes.to_string());
        vec![
            self.name.clone(),
            self.state.to_owned(),
            self.s3uid.clone(),
            self.email.clone(),
            plan.unwrap_or_default(),
            self.access_keys.to_string(),
            self.buckets.len().to_string(),
            quota.unwrap_or_default(),
            self.why.clone(),
        ]
    }
}

impl ImportRow {
    /// Who is there, and has no line in the file. The address is the engine's.
    fn unmapped(there: ForeignAccount) -> Self {
        Self { email: there.email.clone(), state: "unmapped", ..Self::of(there) }
    }

    fn of(there: ForeignAccount) -> Self {
        Self {
            name: there.foreign,
            state: "",
            s3uid: there.account.trim_start_matches("accounts/").to_owned(),
            email: String::new(),
            plan_id: None,
            access_keys: there.access_keys.len(),
            buckets: there.buckets,
            quota_bytes: there.quota_bytes,
            bucket_max: there.bucket_max,
            why: there.obstacle,
        }
    }

    fn is_refused(&self) -> bool {
        self.state == CONFLICT
    }
}

const CONFLICT: &str = "conflict";
const IMPORTED: &str = "imported";
const KNOWN: &str = "known";
const POSSIBLE: &str = "possible";

pub(super) async fn run(command: Import, session: &Session) -> Result<(), Error> {
    let map = command.map.as_deref().map(read_map).transpose()?;
    let location = format!("locations/{}", command.location);
    let found = listed(session, &location).await?;
    let Some(map) = map else {
        let rows: Vec<_> = found.into_iter().map(ImportRow::unmapped).collect();
        return output::list(session.output, &rows);
    };
    let import = Importing {
        session,
        location: &location,
        customers: customers(session).await?,
        is_dry: command.dry_run,
    };
    let rows = import.all(found, &map).await?;
    output::list(session.output, &rows)?;
    let refused = rows.iter().filter(|row| row.is_refused()).count();
    match refused {
        0 => Ok(()),
        _ => Err(Error::Failed(format!(
            "{refused} of {} in the file: conflict, see WHY; mend it and run this again",
            map.len()
        ))),
    }
}

/// Who is on the engine of the location.
async fn listed(session: &Session, location: &str) -> Result<Vec<ForeignAccount>, Error> {
    let there = There::new(session.client.api());
    let found = pages(ALL, async |page_size, page_token| {
        let parent = location.to_owned();
        let request = ListForeignAccountsRequest { parent, page_size, page_token };
        let page = there.clone().list_foreign_accounts(request).await?.into_inner();
        Ok((page.accounts, page.next_page_token))
    });
    found.await.map_err(|status| session.client.explain(&status, FLAGS))
}

/// Customers by their mail addresses.
async fn customers(session: &Session) -> Result<HashMap<String, i64>, Error> {
    let customers = CustomerServiceClient::new(session.client.api());
    let found = pages(ALL, async |page_size, page_token| {
        let request = ListCustomersRequest { page_size, page_token };
        let page = customers.clone().list_customers(request).await?.into_inner();
        Ok((page.customers, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    Ok(found.into_iter().map(|customer| (customer.email, customer.customer_id)).collect())
}

struct Importing<'a> {
    session: &'a Session,
    /// `locations/FR`
    location: &'a str,
    customers: HashMap<String, i64>,
    is_dry: bool,
}

impl Importing<'_> {
    /// Whoever is there, and whoever is in the file and not there any more.
    async fn all(
        &self,
        found: Vec<ForeignAccount>,
        map: &BTreeMap<String, Whose>,
    ) -> Result<Vec<ImportRow>, Error> {
        let there: BTreeSet<_> = found.iter().map(|there| there.foreign.clone()).collect();
        let gone = map.keys().filter(|name| !there.contains(*name));
        let gone = gone.map(|name| ForeignAccount { foreign: name.clone(), ..Default::default() });
        let mut rows = Vec::new();
        let mut done = 0;
        for somebody in gone.chain(found.iter().cloned()) {
            let Some(whose) = map.get(&somebody.foreign) else {
                rows.push(ImportRow::unmapped(somebody));
                continue;
            };
            let row = self.one(somebody, whose).await?;
            done += 1;
            eprintln!("{done} of {}: {} {}", map.len(), row.name, row.state);
            rows.push(row);
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    async fn one(&self, somebody: ForeignAccount, whose: &Whose) -> Result<ImportRow, Error> {
        let foreign = somebody.foreign.clone();
        // Whoever is not there and has an account all the same was imported before.
        let is_new = !somebody.access_keys.is_empty();
        let email = whose.email.clone();
        let row = ImportRow { email, plan_id: Some(whose.plan.0), ..ImportRow::of(somebody) };
        let Some(customer) = self.customers.get(&whose.email) else {
            let why = format!(
                "no customer has the mail address {}: `stowage admin customer create` makes one",
                whose.email
            );
            return Ok(ImportRow { state: CONFLICT, why, ..row });
        };
        let request = AdoptAccountRequest {
            location: self.location.to_owned(),
            foreign,
            customer: name::customer(CustomerId(*customer)),
            plan: name::plan(whose.plan),
            ..Default::default()
        };
        let answered = match self.is_dry {
            true => self.check(request).await,
            false => self.adopt(request).await,
        };
        match answered {
            Ok(s3uid) if s3uid.is_empty() => Ok(ImportRow { state: POSSIBLE, ..row }),
            Ok(s3uid) => {
                let state = if is_new && !self.is_dry { IMPORTED } else { KNOWN };
                Ok(ImportRow { state, s3uid, ..row })
            }
            Err(status) => match status.code() {
                // The rest would fare no better.
                Code::Unavailable | Code::Unauthenticated | Code::PermissionDenied => {
                    Err(self.session.client.explain(&status, FLAGS))
                }
                _ => Ok(ImportRow { state: CONFLICT, why: status.message().to_owned(), ..row }),
            },
        }
    }

    /// The account that it is already; empty: it can become one.
    async fn check(&self, request: AdoptAccountRequest) -> Result<String, Status> {
        let AdoptAccountRequest { location, foreign, customer, plan, .. } = request;
        let request = CheckAdoptionRequest { location, foreign, customer, plan };
        let mut adoptions = AdoptionServiceClient::new(self.session.client.api());
        let checked = adoptions.check_adoption(request).await?.into_inner();
        Ok(checked.account.trim_start_matches("accounts/").to_owned())
    }

    async fn adopt(&self, request: AdoptAccountRequest) -> Result<String, Status> {
        let adopted = self.session.client.change(async |api: Api, request_id: String| {
            let request = AdoptAccountRequest { request_id, ..request.clone() };
            AdoptionServiceClient::new(api).adopt_account(request).await
        });
        Ok(adopted.await?.s3uid)
    }
}

/// Reads the file; tells all that is wrong with it at once.
fn read_map(path: &Path) -> Result<BTreeMap<String, Whose>, Error> {
    let usage = |why: String| Error::Usage(format!("{MAP} {}: {why}", path.display()));
    let reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_path(path);
    let mut reader = reader.map_err(|error| usage(error.to_string()))?;
    let (mut map, mut faults) = (BTreeMap::new(), Vec::new());
    for line in reader.deserialize::<Line>() {
        let read = line.map_err(|error| error.to_string()).and_then(|line| line.read());
        match read {
            Ok((name, whose)) => {
                if map.insert(name.clone(), whose).is_some() {
                    faults.push(format!("{name:?} is in it twice"));
                }
            }
            Err(fault) => faults.push(fault),
        }
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    match faults.is_empty() {
        true => Ok(map),
        false => Err(usage(faults.join("\n"))),
    }
}

impl Line {
    fn read(self) -> Result<(String, Whose), String> {
        let Self { name, email, plan } = self;
        if name.is_empty() {
            return Err(format!("a line for {email:?} has no name"));
        }
        let plan_id = plan.trim().parse::<PlanId>();
        let plan_id = plan_id.map_err(|_| format!("{name:?}: {plan:?} is no number of a plan"))?;
        Ok((name, Whose { email: email.trim().to_owned(), plan: plan_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, Whose>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_map(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_map_is_read_with_names_of_any_kind() {
        let map = read("plan, name ,email\n2,\"Müller, Jörg\",j@example.com\n 7 ,b, b@x.de \n");
        let map = map.unwrap();
        let told: Vec<_> =
            map.iter().map(|(n, w)| (n.as_str(), w.email.as_str(), w.plan.0)).collect();
        assert_eq!(told, [("Müller, Jörg", "j@example.com", 2), ("b", "b@x.de", 7)]);
        assert!(read("name,email,plan\n").unwrap().is_empty());
    }

    #[test]
    fn all_faults_of_a_map_are_told_at_once() {
        let fault = read("name,email,plan\na,a@x.de,two\na,a@x.de,1\na,b@x.de,1\n,c@x.de,1\nd\n");
        let fault = fault.unwrap_err();
        for part in ["\"two\" is no number", "\"a\" is in it twice", "c@x.de", "line: 6"] {
            assert!(fault.contains(part), "{part} in {fault}");
        }
        assert!(read("name,mail,plan\na,b,1\n").unwrap_err().contains("email"));
        assert!(read("").unwrap().is_empty());
        assert!(read_map(Path::new("/nowhere")).is_err());
    }
}
