//! What metering says of caps, to an account in any state.

use prost::Message as _;
use stowage_bus::Event;
use stowage_proto::accounts as pb;
use stowage_proto::billing::DunningStage;
use stowage_proto::metering::{CapChanged, LimitKind};
use stowage_types::{Clock as _, SystemRandom, new_id};

use crate::changes::{assert_agreement, get, with_account};
use crate::dunning::{Word, overdue, said};
use crate::kit::Kit;

use LimitKind::{StorageCap, TrafficCap, Unspecified};

/// The event that says that an account has come to a cap, or is below.
fn capped(kit: &Kit, name: &str, cap: LimitKind, sequence: i64) -> Event {
    let message = CapChanged {
        s3uid: name.trim_start_matches("accounts/").to_owned(),
        cap: cap.into(),
        sequence,
        limit_bytes: 100,
        used_bytes: 120,
        ..Default::default()
    };
    Event {
        id: new_id(&*kit.clock, &SystemRandom),
        source: "stowage/metering".into(),
        kind: "stowage.metering.cap.changed.v1".to_owned(),
        subject: name.to_owned(),
        time: kit.clock.now(),
        data: message.encode_to_vec(),
        trace: Default::default(),
    }
}

async fn say(kit: &Kit, name: &str, cap: LimitKind, sequence: i64) -> pb::Account {
    kit.bus.publish(&capped(kit, name, cap, sequence)).await.unwrap();
    get(kit, name).await
}

/// Whether its engine keeps the account to reading.
fn is_read_only(kit: &Kit, name: &str) -> bool {
    let s3uid = name.trim_start_matches("accounts/");
    kit.world.state().engine[s3uid].read_only
}

#[tokio::test]
async fn an_account_at_a_cap_is_only_read_until_it_is_below_whatever_order_it_is_told_in() {
    let (kit, customer, name) = with_account().await;
    let account = say(&kit, &name, TrafficCap, 2).await;
    assert_eq!(
        (account.cap(), account.state()),
        (pb::AccountCap::Traffic, pb::AccountState::Active)
    );
    assert!(is_read_only(&kit, &name));
    assert_agreement(&kit, &name, "capped").await;
    // Old news, and the same again.
    for (cap, sequence) in [(Unspecified, 1), (TrafficCap, 2), (Unspecified, 2)] {
        assert_eq!(say(&kit, &name, cap, sequence).await.cap(), pb::AccountCap::Traffic);
    }
    assert_eq!(say(&kit, &name, StorageCap, 3).await.cap(), pb::AccountCap::Storage);
    assert!(is_read_only(&kit, &name));
    assert_eq!(say(&kit, &name, Unspecified, 4).await.cap(), pb::AccountCap::Unspecified);
    assert!(!is_read_only(&kit, &name));
    assert_agreement(&kit, &name, "below").await;
    let told = ["account.capped", "account.capped", "account.uncapped"];
    assert_eq!(kit.history(&customer).await[3..], told);
    let why = "SELECT count(*) FROM history WHERE event = 'account.capped' \
        AND new_json LIKE '%120 bytes%its cap is 100%'";
    assert_eq!(kit.count(why).await, 2);
}

#[tokio::test]
async fn a_cap_and_an_unpaid_invoice_do_not_lift_each_other() {
    let (kit, _, name) = with_account().await;
    let owe = async |word: Word, sequence| {
        kit.bus.publish(&said(&kit, &name, word, sequence)).await.unwrap();
    };
    say(&kit, &name, StorageCap, 1).await;
    owe(overdue(DunningStage::ReadOnly), 1).await;
    assert!(is_read_only(&kit, &name));
    owe(Word::Settled, 2).await;
    assert!(is_read_only(&kit, &name), "it is at its cap still");
    owe(overdue(DunningStage::Suspended), 3).await;
    assert_eq!(get(&kit, &name).await.state(), pb::AccountState::Suspended);
    assert!(!is_read_only(&kit, &name), "suspended is more");
    say(&kit, &name, Unspecified, 2).await;
    assert_eq!(get(&kit, &name).await.state(), pb::AccountState::Suspended);
    say(&kit, &name, StorageCap, 3).await;
    owe(Word::Settled, 4).await;
    assert!(is_read_only(&kit, &name));
    assert_agreement(&kit, &name, "both").await;
}

#[tokio::test]
async fn what_is_said_of_an_account_that_is_gone_is_no_matter() {
    let (kit, _, name) = with_account().await;
    let gone = format!("accounts/{}", "f".repeat(32));
    kit.bus.publish(&capped(&kit, &gone, StorageCap, 1)).await.unwrap();
    assert_eq!(get(&kit, &name).await.cap(), pb::AccountCap::Unspecified);
}
