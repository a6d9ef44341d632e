//! `get_users` at the facade among many accounts with a year of figures.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use stowage_testkit::{Facade, Process, try_eventually};
use stowage_types::{Clock as _, SystemClock};
use time::Date;
use time::macros::format_description;
use tokio::task::JoinSet;

use crate::RATES_OUT_OF_REACH;
use crate::figure::{Figure, in_ms, percentile};
use crate::ranked::{self, Filled, email_of, s3uid_of};
use crate::start::resident_mib;

/// How long an answer may take.
const TARGET: Duration = Duration::from_millis(50);
/// How much longer among ten times as many accounts.
const GROWTH: f64 = 1.3;
/// What the process may keep in memory.
const MIB_MAX: f64 = 150.0;
/// Clients that ask at once.
const CLIENTS: u64 = 16;
/// How long one of two servers is asked before the other is.
const TURN: Duration = Duration::from_secs(5);
/// How long the first answer is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// Rows of a page, as panels ask for them.
const LIMIT: usize = 50;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) accounts: i64,
    pub(crate) months: i32,
    /// How long each is asked, in whole turns.
    pub(crate) seconds: u64,
}

/// Where they are measured.
pub(crate) const DATABASES: [&str; 2] = ["PostgreSQL", "SQLite"];
/// Filters, and none.
const FILTERS: [&str; 9] =
    ["", "plan_id", "location", "storage_type", "billing", "email", "s3uid", "bucket_name", "id"];
/// Those that many match.
const BROAD: usize = 5;

/// On one of [`DATABASES`].
pub(crate) async fn measure(program: &Path, size: Size, name: &str) -> Vec<Figure> {
    match on(name, program, size).await {
        Ok(figures) => figures,
        Err(why) => vec![Figure::missing(format!("get_users on {name}"), why)],
    }
}

/// With a tenth of the accounts and with all: both stand at once and are asked in turns, so that an
/// hour in which the machine is slow does not count for one of them alone.
async fn on(name: &str, program: &Path, size: Size) -> Result<Vec<Figure>, String> {
    let mut few =
        Asked::start(name, program, Size { accounts: size.accounts / 10, ..size }).await?;
    let mut many = Asked::start(name, program, size).await?;
    for _ in 0..size.seconds.div_ceil(TURN.as_secs()) {
        few.turn().await?;
        many.turn().await?;
    }
    let (mut figures, few) = few.figures()?;
    let (found, many) = many.figures()?;
    figures.extend(found);
    let what = format!("p99 of get_users on {name} with {} accounts ÷ a tenth", size.accounts);
    figures.push(Figure::at_most(what, many.as_secs_f64() / few.as_secs_f64(), GROWTH));
    Ok(figures)
}

/// A server that is asked.
struct Asked {
    server: Process,
    periods: Vec<(&'static str, Days)>,
    accounts: i64,
    place: String,
    figures: Vec<Figure>,
    clients: Vec<Client>,
}

/// Who asks again as soon as he is answered.
struct Client {
    facade: Facade,
    token: String,
    dice: Dice,
    /// How long each answer took, and the groups it is in.
    times: Vec<(Vec<String>, Duration)>,
}

impl Asked {
    /// Fills a server, starts it again on what stands there, and asks once for each period.
    async fn start(name: &str, program: &Path, size: Size) -> Result<Self, String> {
        let (mut server, filled) = match name {
            "SQLite" => {
                let server = Process::start_program(program.to_owned(), RATES_OUT_OF_REACH).await;
                let filled = ranked::fill_sqlite(&server, size).await?;
                (server, filled)
            }
            _ => ranked::start_on_postgres(program.to_owned(), size).await?,
        };
        server.stop("TERM").await;
        server.restart().await;
        let client = |n| Client {
            facade: Facade::new(server.site.gateway),
            token: server.site.admin_token.clone(),
            dice: Dice(n * 7919 + 1),
            times: Vec::new(),
        };
        let clients = (0..CLIENTS).map(client).collect();
        let Size { accounts, months, .. } = size;
        let place = format!("{accounts} accounts x {months} months on {name}");
        let periods = periods(&filled);
        let mut asked = Self { server, periods, accounts, place, figures: Vec::new(), clients };
        asked.ask_first().await?;
        Ok(asked)
    }

    async fn ask_first(&mut self) -> Result<(), String> {
        let site = &self.server.site;
        for (name, period) in &self.periods {
            let query = Query { period: *period, ..Query::default() };
            let begun = Instant::now();
            // Whoever waits for longer than a call may take is told to come again.
            let ask = async || query.ask(&site.facade, &site.admin_token).await;
            try_eventually(PATIENCE, ask).await?;
            let what = format!("first get_users of {name}, {}", self.place);
            self.figures.push(Figure::told(what, in_ms(begun.elapsed())));
        }
        Ok(())
    }

    /// All kinds of questions, of all clients at once.
    async fn turn(&mut self) -> Result<(), String> {
        let until = Instant::now() + TURN;
        let mut asking = JoinSet::new();
        for mut client in self.clients.drain(..) {
            let (periods, accounts) = (self.periods.clone(), self.accounts);
            asking.spawn(async move {
                while Instant::now() < until {
                    let (groups, query) = Query::any(&mut client.dice, &periods, accounts);
                    let begun = Instant::now();
                    query.ask(&client.facade, &client.token).await?;
                    client.times.push((groups, begun.elapsed()));
                }
                Ok::<_, String>(client)
            });
        }
        self.clients = asking.join_all().await.into_iter().collect::<Result<_, _>>()?;
        Ok(())
    }

    /// What came of it, and the time of all kinds.
    fn figures(self) -> Result<(Vec<Figure>, Duration), String> {
        let Self { server, place, mut figures, clients, .. } = self;
        let mut groups: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        for (of, time) in clients.into_iter().flat_map(|client| client.times) {
            of.into_iter().for_each(|group| groups.entry(group).or_default().push(time));
        }
        let mut slowest = Duration::ZERO;
        for (group, mut times) in groups {
            let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
            let (count, p50) = (times.len(), in_ms(p50));
            let what = format!("get_users {group}, {place}, p99 of {count} (p50: {p50})");
            figures.push(Figure::time(what, p99, TARGET));
            if group == ALL {
                slowest = p99;
            }
        }
        let what = format!("all roles behind that, {place}, resident MiB");
        figures.push(Figure::at_most(what, resident_mib(server.pid())?, MIB_MAX));
        Ok((figures, slowest))
    }
}

/// The group of all questions.
const ALL: &str = "of all kinds";

/// Days, both included; `None`: this month.
type Days = Option<(Date, Date)>;

fn periods(filled: &Filled) -> Vec<(&'static str, Days)> {
    let last = |month: Date| month.replace_day(month.month().length(month.year()));
    let today = SystemClock.now().date();
    let (first, past) = (filled.first_month, filled.past_month);
    let whole = past.replace_day(1).ok().zip(last(past).ok());
    vec![
        ("this month", None),
        ("a past month", whole),
        ("all months", Some((first, today))),
        ("a period that begins and ends within months", Some(filled.within)),
    ]
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap_or(0) % end.max(1)
    }
}

#[derive(Debug, Default)]
struct Query {
    filter: Option<(&'static str, String)>,
    period: Days,
    order: &'static str,
    order_by: &'static str,
    offset: usize,
}

impl Query {
    /// One of any kind, and the groups it is in.
    fn any(
        dice: &mut Dice,
        periods: &[(&'static str, Days)],
        accounts: i64,
    ) -> (Vec<String>, Self) {
        let kind = dice.below(FILTERS.len());
        let (name, period) = periods[dice.below(periods.len())];
        let accounts = usize::try_from(accounts).unwrap_or(1);
        let n = 1 + i64::try_from(dice.below(accounts)).unwrap_or(0);
        let order = ["total_traffic_period_gb", "total_storage_peak_gb"][dice.below(2)];
        let order_by = ["ASC", "DESC"][dice.below(2)];
        // Half of the pages are the first; the others are anywhere.
        let is_deep = kind < BROAD && dice.below(2) == 1;
        let offset = if is_deep { dice.below(accounts / 2) } else { 0 };
        let value = match FILTERS[kind] {
            "plan_id" => (1 + n % 5).to_string(),
            "location" => ["DE", "NL"][dice.below(2)].to_owned(),
            "storage_type" => ["standard", "archive"][dice.below(2)].to_owned(),
            "billing" => ["ledger", "whmcs"][dice.below(2)].to_owned(),
            "email" => email_of(n),
            "s3uid" => s3uid_of(n),
            "bucket_name" => format!("bucket-{n}"),
            "id" => ranked::customer_of(n).to_string(),
            _ => String::new(),
        };
        let filter = Some((FILTERS[kind], value)).filter(|(name, _)| !name.is_empty());
        let by =
            filter.as_ref().map_or("without a filter".to_owned(), |(by, _)| format!("by {by}"));
        let groups = vec![ALL.to_owned(), by, format!("of {name}")];
        (groups, Self { filter, period, order, order_by, offset })
    }

    async fn ask(&self, facade: &Facade, token: &str) -> Result<(), String> {
        const DAY: &[time::format_description::BorrowedFormatItem<'_>] =
            format_description!("[year]-[month]-[day]");
        let day = |day: Date| day.format(DAY).unwrap_or_default();
        let mut parameters =
            vec![("limit", LIMIT.to_string()), ("offset", self.offset.to_string())];
        if let Some((name, value)) = &self.filter {
            parameters.push((name, value.clone()));
        }
        if let Some((from, to)) = self.period {
            parameters.extend([("period_from", day(from)), ("period_to", day(to))]);
        }
        let orders = [("order", self.order), ("order_by", self.order_by)];
        let orders = orders.into_iter().filter(|(_, value)| !value.is_empty());
        parameters.extend(orders.map(|(name, value)| (name, value.to_owned())));
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
        let answer = facade.action("get_users", token, &parameters).await;
        // A page far behind may be empty; a filter of one account always finds it.
        let is_empty = answer.body.windows(14).any(|part| part == b"\"s3_users\":[],");
        match answer.status.is_success() && (self.offset > 0 || !is_empty) {
            true => Ok(()),
            false => Err(format!("{self:?}: {}", String::from_utf8_lossy(&answer.body))),
        }
    }
}
