//! `stowage admin drift`: engine, meter and bill of accounts, side by side.

use clap::Args;
use serde::Serialize;
use stowage_proto::accounts::drift_service_client::DriftServiceClient;
use stowage_proto::accounts::{
    AccountDrift, DriftDifference, DriftFigure, DriftHour, DriftRow, ListDriftRequest,
};
use stowage_types::{from_timestamp, timestamp};
use time::OffsetDateTime;

use super::client::Flags;
use super::output::{self, Row};
use super::{Error, Session, amount};

const FLAGS: Flags = &[("accounts", "ACCOUNT"), ("from_time", "--from"), ("to_time", "--to")];
/// Accounts of one call: those that seem to differ are looked at twice while it waits.
const PAGE_SIZE: i32 = 100;

#[derive(Debug, Args)]
pub(super) struct Drift {
    /// Only these accounts, by their s3uids; all of their figures are printed
    accounts: Vec<String>,
    /// Print the figures of all accounts, also of those that agree
    #[arg(long)]
    all: bool,
    /// Since when traffic is compared, such as 2026-01-01 or 2026-01-01T10:00:00Z, at most 59 days
    /// ago [default: 7 days before --to]
    #[arg(long, value_name = "TIME", value_parser = amount::time)]
    from: Option<OffsetDateTime>,
    /// Until when, not included [default: the last hour that has ended and settled]
    #[arg(long, value_name = "TIME", value_parser = amount::time)]
    to: Option<OffsetDateTime>,
}

/// What one of the three says, and how old that is.
#[derive(Serialize)]
struct Figure {
    value: i64,
    as_of: Option<String>,
    age_seconds: Option<i64>,
}

#[derive(Serialize)]
struct Difference {
    value: i64,
    ppm: i64,
}

#[derive(Serialize)]
struct Hour {
    hour: Option<String>,
    engine: i64,
    meter: i64,
}

#[derive(Serialize)]
struct MeasureRow {
    account: String,
    account_id: i64,
    customer_id: i64,
    location: String,
    measure: String,
    from: Option<String>,
    to: Option<String>,
    engine: Option<Figure>,
    meter: Option<Figure>,
    billed: Option<Figure>,
    meter_less_engine: Option<Difference>,
    billed_less_meter: Option<Difference>,
    drifts: bool,
    not_judged: String,
    hours: Vec<Hour>,
    hour_count: i32,
}

impl MeasureRow {
    fn of(account: &AccountDrift, row: DriftRow, now: Option<OffsetDateTime>) -> Self {
        let figure = |figure: DriftFigure| {
            let as_of = figure.as_of_time.and_then(|time| from_timestamp(&time).ok());
            let age = now.zip(as_of).map(|(now, as_of)| (now - as_of).whole_seconds().max(0));
            let as_of = output::time(figure.as_of_time);
            Figure { value: figure.value, as_of, age_seconds: age }
        };
        let difference = |of: DriftDifference| Difference { value: of.value, ppm: of.ppm };
        let hour = |hour: DriftHour| {
            let DriftHour { hour, engine, meter } = hour;
            Hour { hour: output::time(hour), engine, meter }
        };
        Self {
            account: output::last_part(&account.account),
            account_id: account.account_id,
            customer_id: account.customer_id,
            location: account.location.clone(),
            measure: output::value(row.measure().as_str_name(), "DRIFT_MEASURE_"),
            from: output::time(row.from_time),
            to: output::time(row.to_time),
            engine: row.engine.map(figure),
            meter: row.meter.map(figure),
            billed: row.billed.map(figure),
            meter_less_engine: row.meter_difference.map(difference),
            billed_less_meter: row.billed_difference.map(difference),
            drifts: row.is_drifting,
            not_judged: row.not_judged,
            hours: row.hours.into_iter().map(hour).collect(),
            hour_count: row.hour_count,
        }
    }

    fn said(&self) -> String {
        let hours: Vec<String> = self.hours.iter().filter_map(|of| of.hour.clone()).collect();
        let hours = hours.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        match (self.drifts, self.hour_count) {
            (true, 0) => "yes".to_owned(),
            (true, count) => format!("yes, in {count} hour(s): {hours}"),
            (false, _) if self.not_judged.is_empty() => "no".to_owned(),
            (false, _) => format!("no: {}", self.not_judged),
        }
    }
}

impl Row for MeasureRow {
    const COLUMNS: &'static [&'static str] = &[
        "ACCOUNT",
        "MEASURE",
        "ENGINE",
        "METER",
        "BILLED",
        "METER-ENGINE",
        "BILLED-METER",
        "AGES",
        "DRIFTS",
    ];

    fn cells(&self) -> Vec<String> {
        let figures = [&self.engine, &self.meter, &self.billed];
        let value = |figure: &Option<Figure>| {
            figure.as_ref().map_or_else(|| "-".to_owned(), |figure| figure.value.to_string())
        };
        let difference = |of: &Option<Difference>| {
            let text = |of: &Difference| format!("{:+} ({:+} ppm)", of.value, of.ppm);
            of.as_ref().map_or_else(|| "-".to_owned(), text)
        };
        let age = |figure: &&Option<Figure>| {
            figure.as_ref().and_then(|f| f.age_seconds).map_or_else(|| "-".to_owned(), shown_age)
        };
        vec![
            self.account.clone(),
            self.measure.clone(),
            value(&self.engine),
            value(&self.meter),
            value(&self.billed),
            difference(&self.meter_less_engine),
            difference(&self.billed_less_meter),
            figures.iter().map(age).collect::<Vec<_>>().join("/"),
            self.said(),
        ]
    }
}

/// `5s`, `12m`, `3h`, `9d`.
fn shown_age(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

pub(super) async fn run(command: Drift, session: &Session) -> Result<(), Error> {
    // Whoever names an account wants to see it.
    let is_shown_whole = command.all || !command.accounts.is_empty();
    let mut request = ListDriftRequest {
        accounts: command.accounts.iter().map(|uid| format!("accounts/{uid}")).collect(),
        drifting_only: !is_shown_whole,
        from_time: command.from.map(timestamp),
        to_time: command.to.map(timestamp),
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let mut api = DriftServiceClient::new(session.client.api());
    let (mut rows, mut looked_at, mut drifting) = (Vec::new(), 0_i64, 0_u64);
    let mut missing = request.accounts.clone();
    loop {
        let page = api.list_drift(request.clone()).await;
        let page = page.map_err(|status| session.client.explain(&status, FLAGS))?.into_inner();
        let now = page.look_time.and_then(|time| from_timestamp(&time).ok());
        for mut account in page.accounts {
            drifting += u64::from(account.is_drifting);
            missing.retain(|name| *name != account.account);
            let mut measures = std::mem::take(&mut account.rows);
            measures.retain(|row| is_shown_whole || row.is_drifting);
            rows.extend(measures.into_iter().map(|row| MeasureRow::of(&account, row, now)));
        }
        if page.looked_at > 0 {
            looked_at += i64::from(page.looked_at);
            // For those who wait; standard output is for the answer.
            eprintln!("{looked_at} looked at, {drifting} drift");
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    output::list(session.output, &rows)?;
    if let Some(name) = missing.first() {
        let uid = output::last_part(name);
        return Err(Error::Failed(format!("{uid}: there is no such account, or it is deleted")));
    }
    match drifting {
        0 => Ok(()),
        1 => Err(Error::Failed("1 account drifts".to_owned())),
        count => Err(Error::Failed(format!("{count} accounts drift"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, text) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")]
        {
            assert_eq!(shown_age(seconds), text);
        }
    }
}
