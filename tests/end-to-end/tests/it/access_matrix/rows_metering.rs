//! Meters and figures.

use prost::Message as _;
use stowage_proto::metering as pb;

use super::table::Answer::Fails;
use super::table::Foreign::{AsMissing, Installation, NotFound};
use super::table::{Foreign, NO_LETTER, Need, OPERATORS, READERS, ROLES, Row};

const NO_METER: Foreign = NotFound("METER_NOT_FOUND");

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "/stowage.metering.v1.DeadLetterService/ListDeadLetters",
        OPERATORS,
        Installation,
        |_| pb::ListDeadLettersRequest::default().encode_to_vec(),
    ),
    Row::new(
        "/stowage.metering.v1.DeadLetterService/GetDeadLetter",
        OPERATORS,
        Installation,
        |_| pb::GetDeadLetterRequest { name: NO_LETTER.to_owned() }.encode_to_vec(),
    )
    .answers(Fails("DEAD_LETTER_NOT_FOUND")),
    Row::new(
        "/stowage.metering.v1.DeadLetterService/ReplayDeadLetter",
        OPERATORS,
        Installation,
        |_| {
            let name = NO_LETTER.to_owned();
            pb::ReplayDeadLetterRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("DEAD_LETTER_NOT_FOUND")),
    Row::new("/stowage.metering.v1.FactService/RecordFacts", OPERATORS, Installation, |n| {
        let fact = pb::Fact {
            id: "matrix".to_owned(),
            s3uid: n.s3uid.clone(),
            bucket: n.bucket.clone(),
            time: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
            kind: pb::FactKind::SentBytes.into(),
            value: 1,
            object_count: 0,
        };
        let source = "matrix".to_owned();
        pb::RecordFactsRequest { source, facts: vec![fact], ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.metering.v1.FactService/ListFactConflicts", OPERATORS, Installation, |_| {
        pb::ListFactConflictsRequest::default().encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.FactService/RebuildRollups", OPERATORS, Installation, |n| {
        let s3uids = vec![n.s3uid.clone()];
        pb::RebuildRollupsRequest { s3uids, ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.metering.v1.LimitService/GetLimits", READERS, NO_METER, |n| {
        pb::GetLimitsRequest { s3uid: n.s3uid.clone() }.encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.LimitService/ListAlerts", READERS, AsMissing, |n| {
        let s3uid = n.s3uid.clone();
        pb::ListAlertsRequest { s3uid, ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.MeterService/OpenMeter", ROLES, AsMissing, |n| {
        let dimensions = pb::Dimensions {
            s3uid: n.s3uid.clone(),
            account_id: n.account_id,
            customer_id: n.customer,
            email: "changed@example.com".to_owned(),
            plan_id: n.plan,
            location: "NL".to_owned(),
            storage_type: "standard".to_owned(),
            billing: "ledger".to_owned(),
            gb_bytes: 1_000_000_000,
        };
        pb::OpenMeterRequest { dimensions: Some(dimensions) }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.metering.v1.MeterService/CloseMeter", ROLES, AsMissing, |n| {
        pb::CloseMeterRequest { s3uid: n.s3uid.clone() }.encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.UsageService/GetAccountUsage", READERS, NO_METER, |n| {
        let s3uid = n.s3uid.clone();
        pb::GetAccountUsageRequest { s3uid, ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.UsageService/AwaitUsage", OPERATORS, NO_METER, |n| {
        let s3uid = n.s3uid.clone();
        pb::AwaitUsageRequest { s3uid, ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.metering.v1.UsageService/QueryUsage", READERS, NO_METER, |n| {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let query = pb::QueryUsageRequest {
            s3uid: n.s3uid.clone(),
            from_time: at(1_790_000_000 / 86_400 * 86_400),
            to_time: at(1_790_000_000 / 86_400 * 86_400 + 86_400),
            step: pb::UsageStep::Day.into(),
            ..Default::default()
        };
        query.encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.UsageService/WatchUsage", READERS, NO_METER, |n| {
        // One who is told once is told no more.
        let s3uid = n.s3uid.clone();
        pb::WatchUsageRequest { s3uid, updates_max: 1 }.encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.UsageService/SummarizeUsage", OPERATORS, AsMissing, |n| {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let window = pb::AccountWindow {
            s3uid: n.s3uid.clone(),
            from_time: at(1_760_000_400),
            to_time: at(1_760_004_000),
        };
        pb::SummarizeUsageRequest { windows: vec![window] }.encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.UsageService/SumMeteredUsage", OPERATORS, Installation, |n| {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let window = pb::AccountWindow {
            s3uid: n.s3uid.clone(),
            from_time: at(1_760_000_400),
            to_time: at(1_760_004_000),
        };
        pb::SumMeteredUsageRequest { windows: vec![window], with_hours: true }.encode_to_vec()
    }),
    Row::new("/stowage.metering.v1.UsageService/RankAccounts", READERS, AsMissing, |n| {
        let customer_id = n.customer;
        pb::RankAccountsRequest { customer_id, ..Default::default() }.encode_to_vec()
    }),
];
