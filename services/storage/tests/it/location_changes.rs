//! Locations that are added, drained and removed while the role runs.

use std::sync::Arc;

use prost::Message as _;
use stowage_db::args;
use stowage_db::testing::Scratch;
use stowage_engine::TrafficTotals;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::field_violations;
use stowage_types::{S3uid, SystemRandom, name};
use tonic::{Code, Status};

use crate::engine::Memory;
use crate::kit::{Kit, OWNER, Settings, assert_reason, metered_bus, this_hour, until, wanted};
use crate::servers::SECRET;

pub(crate) const SERVER: &str = "http://de.test";
pub(crate) const OTHER_SERVER: &str = "http://fr.test";

/// What adds DE at [`SERVER`].
pub(crate) fn adding() -> pb::AddLocationRequest {
    pb::AddLocationRequest {
        code: "DE".to_owned(),
        endpoint: "https://s3.de.example".to_owned(),
        engine: Some(pb::EngineSettings {
            engine: "memory".to_owned(),
            admin_endpoint: SERVER.to_owned(),
            access_key: "an-access-key".to_owned(),
            secret_key: SECRET.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The same with other settings.
pub(crate) fn otherwise(change: impl FnOnce(&mut pb::EngineSettings)) -> pb::AddLocationRequest {
    let mut request = adding();
    change(request.engine.as_mut().unwrap());
    request
}

impl Kit {
    pub(crate) async fn add(
        &self,
        request: pb::AddLocationRequest,
    ) -> Result<pb::Location, Status> {
        let request = self.as_administrator(request);
        Ok(self.locations().add_location(request).await?.into_inner())
    }

    pub(crate) async fn drain(&self, code: &str) -> Result<pb::Location, Status> {
        let request = pb::DrainLocationRequest { name: name::location(code), ..Default::default() };
        let request = self.as_administrator(request);
        Ok(self.locations().drain_location(request).await?.into_inner())
    }

    pub(crate) async fn undrain(&self, code: &str) -> Result<pb::Location, Status> {
        let name = name::location(code);
        let request = pb::UndrainLocationRequest { name, ..Default::default() };
        let request = self.as_administrator(request);
        Ok(self.locations().undrain_location(request).await?.into_inner())
    }

    pub(crate) async fn remove_location(&self, code: &str) -> Result<(), Status> {
        let request =
            pb::RemoveLocationRequest { name: name::location(code), ..Default::default() };
        self.locations().remove_location(self.as_administrator(request)).await.map(drop)
    }

    async fn update(&self, paths: &[&str], engine: pb::EngineSettings) -> Result<(), Status> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = pb::UpdateLocationRequest {
            name: "locations/DE".to_owned(),
            engine: Some(engine),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        self.locations().update_location(self.as_administrator(request)).await.map(drop)
    }

    /// Codes and states as a customer sees them.
    pub(crate) async fn offered(&self) -> Vec<String> {
        let request = self.as_customer(OWNER, pb::ListLocationsRequest::default());
        let listed = self.locations().list_locations(request).await.unwrap().into_inner();
        listed.locations.into_iter().map(|location| location.code).collect()
    }

    /// Events that history is told, in order, each with what is new.
    pub(crate) async fn told(&self) -> Vec<(String, String)> {
        let sql = "SELECT data FROM outbox \
                   WHERE type = 'stowage.storage.location.changed.v1' ORDER BY position";
        let rows: Vec<(Vec<u8>,)> = self.db().fetch_all(sql, args![]).await.unwrap();
        let told = rows.iter().map(|(data,)| pb::LocationChanged::decode(&data[..]).unwrap());
        told.map(|told| (told.event, told.new_json)).collect()
    }
}

/// What accounts would ask for at DE.
pub(crate) fn wanted_there(uid: &S3uid) -> pb::EnsureEngineAccountRequest {
    pb::EnsureEngineAccountRequest { location: "locations/DE".to_owned(), ..wanted(uid) }
}

pub(crate) async fn kit_of(settings: &Settings) -> Kit {
    let place = Arc::new(Scratch::new().await);
    Kit::set(Arc::new(Memory::default()), place, metered_bus(), settings.clone()).await
}

#[tokio::test]
async fn a_location_that_is_added_takes_accounts_at_once_and_its_usage_is_collected() {
    let settings = Settings::default();
    let engine = settings.servers.start(SERVER);
    let mut kit = kit_of(&settings).await;
    kit.run_tasks();
    assert_eq!(kit.offered().await, ["NL"]);
    let added = kit.add(adding()).await.unwrap();
    assert_eq!((added.name.as_str(), added.engine.as_str()), ("locations/DE", "memory"));
    assert_eq!(
        (added.region.as_str(), added.storage_types.as_slice()),
        ("us-east-1", &["standard".to_owned()][..])
    );
    assert_eq!(
        (added.state(), added.origin()),
        (pb::LocationState::Open, pb::LocationOrigin::Added)
    );
    assert_eq!(kit.offered().await, ["DE", "NL"]);

    let uid = S3uid::generate(&SystemRandom);
    kit.ensure(wanted_there(&uid)).await.unwrap();
    assert!(engine.account(&uid).is_some() && kit.engine.account(&uid).is_none());
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    engine.put("photos", "a", 70);
    engine.report(TrafficTotals {
        uid: uid.clone(),
        bucket: "photos".to_owned(),
        hour: this_hour(),
        received_bytes: 70,
        sent_bytes: 7,
        read_requests: 1,
        write_requests: 1,
        refused_requests: 0,
    });
    until(async || kit.meter.last(&uid, "photos") == Some((70, 1))).await;
    until(async || kit.meter.traffic().values().any(|moved| *moved == [70, 7, 1, 1])).await;
}

#[tokio::test]
async fn how_an_engine_is_reached_is_sealed_and_survives_a_restart() {
    let place = Arc::new(Scratch::new().await);
    let settings = Settings::default();
    let (engine, nl) = (settings.servers.start(SERVER), Arc::new(Memory::default()));
    let kit = Kit::set(nl.clone(), place.clone(), metered_bus(), settings.clone()).await;
    let uid = S3uid::generate(&SystemRandom);
    let request = pb::AddLocationRequest { request_id: "add-1".to_owned(), ..adding() };
    kit.add(request.clone()).await.unwrap();
    kit.ensure(wanted_there(&uid)).await.unwrap();

    // The secret is nowhere in the database as it was given.
    let tables = "SELECT settings FROM location WHERE settings IS NOT NULL";
    let rows: Vec<(Vec<u8>,)> = kit.db().fetch_all(tables, args![]).await.unwrap();
    assert_eq!(rows.len(), 1);
    for (sql, what) in [
        (tables, "settings"),
        ("SELECT data FROM outbox", "events"),
        ("SELECT answer FROM request WHERE answer IS NOT NULL", "answers"),
        ("SELECT digest FROM request", "digests"),
    ] {
        let rows: Vec<(Vec<u8>,)> = kit.db().fetch_all(sql, args![]).await.unwrap();
        assert!(!rows.is_empty(), "{what}");
        for secret in [SECRET, "an-access-key", SERVER] {
            let has_it = |row: &(Vec<u8>,)| {
                row.0.windows(secret.len()).any(|part| part == secret.as_bytes())
            };
            assert!(!rows.iter().any(has_it), "{secret} is in {what}");
        }
    }
    if place.url().is_none() {
        for file in std::fs::read_dir(place.folder()).unwrap().flatten() {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            let has_it = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
            assert!(!has_it, "the secret is in {}", file.path().display());
        }
    }
    kit.close().await;

    let kit = Kit::set(nl, place, metered_bus(), settings).await;
    assert_eq!(kit.add(request).await.unwrap().code, "DE", "the first answer is kept");
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    assert!(engine.account(&uid).is_some());
    assert_eq!(kit.offered().await, ["DE", "NL"]);
}

#[tokio::test]
async fn what_is_wrong_is_told_by_its_field_and_nothing_is_written() {
    let settings = Settings::default();
    settings.servers.start(SERVER);
    let kit = kit_of(&settings).await;
    let with = |change: fn(&mut pb::AddLocationRequest)| {
        let mut request = adding();
        change(&mut request);
        request
    };
    for (request, field) in [
        (with(|of| of.code = "de".to_owned()), "code"),
        (with(|of| of.endpoint = "s3.de.example".to_owned()), "endpoint"),
        (with(|of| of.storage_types = vec![String::new()]), "storage_types"),
        (with(|of| of.storage_types = vec!["a".to_owned(); 17]), "storage_types"),
        (with(|of| of.region = "a\u{0}".to_owned()), "region"),
        (with(|of| of.engine = None), "engine"),
        (otherwise(|of| of.engine = "tape".to_owned()), "engine.engine"),
        (otherwise(|of| of.secret_key = "wrong".to_owned()), "engine.secret_key"),
        (otherwise(|of| of.secret_key = "x".repeat(1025)), "engine.secret_key"),
        (otherwise(|of| of.admin_endpoint = OTHER_SERVER.to_owned()), "engine.admin_endpoint"),
        (otherwise(|of| of.ca_pem = "x".repeat(33_000)), "engine.ca_pem"),
        (otherwise(|of| of.marker = "a\nb".to_owned()), "engine.marker"),
    ] {
        let refused = kit.add(request).await;
        let status = assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
        let fields = field_violations(&status);
        assert!(fields.iter().any(|(of, _)| of == field), "{field} in {fields:?}");
        assert!(!format!("{status:?}").contains(SECRET), "{status:?}");
    }
    assert_eq!(kit.count("SELECT count(*) FROM location WHERE code = 'DE'").await, 0);
    assert_eq!(kit.told().await, []);
    let customer = kit.as_customer(OWNER, adding());
    let refused = kit.locations().add_location(customer).await;
    assert_reason(refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    let acting = kit.as_administrator_for(OWNER, adding());
    let refused = kit.locations().add_location(acting).await;
    assert_reason(refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
}

#[tokio::test]
async fn the_same_again_is_one_location_and_other_settings_are_refused() {
    let settings = Settings::default();
    let engine = settings.servers.start(SERVER);
    settings.servers.start(OTHER_SERVER);
    let kit = kit_of(&settings).await;
    let first = kit.add(adding()).await.unwrap();
    // Also while the engine is away: it is there.
    engine.set_down(true);
    assert_eq!(kit.add(adding()).await.unwrap(), first);
    engine.set_down(false);
    assert_eq!(kit.told().await.len(), 1, "{:?}", kit.told().await);
    for request in [
        otherwise(|of| of.secret_key = "another".to_owned()),
        otherwise(|of| of.marker = "another".to_owned()),
        pb::AddLocationRequest { endpoint: "https://s3.example".to_owned(), ..adding() },
        pb::AddLocationRequest { storage_types: vec!["cold".to_owned()], ..adding() },
        pb::AddLocationRequest { code: "NL".to_owned(), ..adding() },
    ] {
        let refused = kit.add(request).await;
        assert_reason(refused, Code::AlreadyExists, ErrorReason::LocationExists);
    }
    // One server is one location, whatever marks what is ours there.
    let mut twice = pb::AddLocationRequest { code: "DE-2".to_owned(), ..adding() };
    twice.engine.as_mut().unwrap().marker = "second".to_owned();
    let status = kit.add(twice).await.unwrap_err();
    let wanted = "engine.admin_endpoint is the server of location DE";
    assert!(status.message().contains(wanted), "{status:?}");
    let configured = "http://configured.test".to_owned();
    settings.servers.start(&configured);
    let mut twice = otherwise(|of| of.admin_endpoint = configured);
    twice.code = "DE-3".to_owned();
    let status = kit.add(twice).await.unwrap_err();
    assert!(status.message().contains("is the server of location NL"), "{status:?}");
    let mut another = otherwise(|of| of.admin_endpoint = OTHER_SERVER.to_owned());
    another.code = "FR".to_owned();
    kit.add(another).await.unwrap();
}

#[tokio::test]
async fn a_request_id_names_one_change() {
    let settings = Settings::default();
    settings.servers.start(SERVER);
    let kit = kit_of(&settings).await;
    let add = |code: &str| pb::AddLocationRequest {
        code: code.to_owned(),
        request_id: "r-1".to_owned(),
        ..adding()
    };
    let first = kit.add(add("DE")).await.unwrap();
    assert_eq!(kit.add(add("DE")).await.unwrap(), first);
    let reused = kit.add(add("FR")).await;
    assert_reason(reused, Code::AlreadyExists, ErrorReason::RequestIdReused);
    let remove = pb::RemoveLocationRequest {
        name: "locations/DE".to_owned(),
        request_id: "r-2".to_owned(),
        ..Default::default()
    };
    for _ in 0..2 {
        let request = kit.as_administrator(remove.clone());
        kit.locations().remove_location(request).await.unwrap();
    }
    let again = kit.remove_location("DE").await;
    assert_reason(again, Code::NotFound, ErrorReason::LocationNotFound);
}

#[tokio::test]
async fn keys_of_an_engine_are_renewed_and_every_process_takes_them() {
    let settings = Settings::default();
    let engine = settings.servers.start(SERVER);
    let kit = kit_of(&settings).await;
    let mut twin = kit.twin(settings.clone()).await;
    twin.run_tasks();
    kit.add(adding()).await.unwrap();
    let uid = S3uid::generate(&SystemRandom);
    twin.ensure(wanted_there(&uid)).await.unwrap();
    assert!(engine.account(&uid).is_some());
    settings.servers.renew_secret(SERVER, "renewed");
    let of =
        |secret: &str| pb::EngineSettings { secret_key: secret.to_owned(), ..Default::default() };
    let refused = kit.update(&["secret_key"], of("mistyped")).await;
    let status = assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    assert!(status.message().contains("engine.secret_key"), "{status:?}");
    kit.update(&["secret_key"], of("renewed")).await.unwrap();
    let (event, new) = kit.told().await.pop().unwrap();
    let wanted = (r#"{"changed":["secret_key"],"location":"DE"}"#, "location.updated");
    assert_eq!((new.as_str(), event.as_str()), wanted);
    for path in ["marker", "engine", "code"] {
        let refused = kit.update(&[path], of("renewed")).await;
        assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    }
    let nothing = kit.update(&[], of("renewed")).await;
    assert_reason(nothing, Code::InvalidArgument, ErrorReason::InvalidField);

    // A process that starts now could not open it by the old secret.
    let third = kit.twin(settings).await;
    third.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let generation = "SELECT count(*) FROM location WHERE code = 'DE' AND generation = 2";
    assert_eq!(kit.count(generation).await, 1);
    twin.create_bucket(OWNER, &uid, "videos").await.unwrap();
}

#[tokio::test]
async fn a_rotation_moves_how_engines_are_reached() {
    let place = Arc::new(Scratch::new().await);
    let settings = Settings::default();
    settings.servers.start(SERVER);
    let nl = Arc::new(Memory::default());
    let kit = Kit::set(nl.clone(), place.clone(), metered_bus(), settings.clone()).await;
    kit.add(adding()).await.unwrap();
    kit.close().await;

    let newer = Settings { key_versions: 2, ..settings.clone() };
    let kit = Kit::set(nl.clone(), place.clone(), metered_bus(), newer.clone()).await;
    let under = async |kit: &Kit| {
        let request = kit.as_administrator(pb::GetKeyringRequest {});
        let keyring = kit.keyring().get_keyring(request).await.unwrap().into_inner();
        let records = keyring.records.into_iter();
        let records: Vec<_> = records.map(|of| (of.kind, of.version, of.count)).collect();
        (keyring.sealing_version, keyring.master_keys.len(), records)
    };
    assert_eq!(under(&kit).await, (2, 2, vec![("location".to_owned(), 1, 1)]));
    let (mut moved, mut page_token) = (0, String::new());
    loop {
        let request = kit.as_administrator(pb::RewrapRecordsRequest { page_token });
        let part = kit.keyring().rewrap_records(request).await.unwrap().into_inner();
        moved += part.moved;
        assert_eq!(part.refused, 0);
        page_token = part.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(moved, 1);
    assert_eq!(under(&kit).await, (2, 2, vec![("location".to_owned(), 2, 1)]));
    kit.close().await;

    // And opens by the new master key.
    let kit = Kit::set(nl.clone(), place.clone(), metered_bus(), newer).await;
    let uid = S3uid::generate(&SystemRandom);
    kit.ensure(wanted_there(&uid)).await.unwrap();
    kit.close().await;

    // Without it the location is unavailable, and all else goes on.
    let kit = Kit::set(nl, place, metered_bus(), settings).await;
    let refused = kit.create_bucket(OWNER, &uid, "photos").await;
    assert_reason(refused, Code::Unavailable, ErrorReason::EngineUnavailable);
    kit.account().await;
}
