//! Chains in memory: whatever is in them they verify, and nothing in them can be changed.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A field of a stored entry, changed to something else.
#[derive(Debug, Clone, Copy)]
enum Field {
    Id,
    Time,
    Nanosecond,
    Event,
    Actor,
    ActedFor,
    RequestId,
    Customer,
    Plan,
    S3uid,
    OldJson,
    NewJson,
    Minor,
    Sequence,
    Encoding,
    Hash,
    /// One character moved from a field into the next: the texts beside each other stay the same.
    Border,
}

const FIELDS: [Field; 17] = [
    Field::Id,
    Field::Time,
    Field::Nanosecond,
    Field::Event,
    Field::Actor,
    Field::ActedFor,
    Field::RequestId,
    Field::Customer,
    Field::Plan,
    Field::S3uid,
    Field::OldJson,
    Field::NewJson,
    Field::Minor,
    Field::Sequence,
    Field::Encoding,
    Field::Hash,
    Field::Border,
];

impl Field {
    fn change(self, of: &mut Chained, (by, text): (i64, &str)) {
        let Recorded { id, create_time, entry } = &mut of.recorded;
        let add = |number: &mut i64| *number = number.wrapping_add(by);
        match self {
            Self::Id => add(id),
            Self::Time => *create_time += time::Duration::seconds(by),
            Self::Nanosecond => *create_time += time::Duration::nanoseconds(by),
            Self::Event => entry.event.push_str(text),
            Self::Actor => entry.cause.actor.insert_str(0, text),
            Self::ActedFor => add(&mut entry.cause.acted_for),
            Self::RequestId => entry.cause.request_id.push_str(text),
            Self::Customer => add(&mut entry.customer_id),
            Self::Plan => add(&mut entry.plan_id),
            Self::S3uid => entry.s3uid.push_str(text),
            Self::OldJson => entry.old_json.push_str(text),
            Self::NewJson => entry.new_json.insert_str(0, text),
            Self::Minor => entry.minor = !entry.minor,
            Self::Sequence => add(&mut of.sequence),
            Self::Encoding => add(&mut of.encoding),
            Self::Hash => of.hash[usize::try_from(by).unwrap_or(0) % HASH_BYTES] ^= 1,
            Self::Border => match entry.old_json.pop() {
                Some(last) => entry.new_json.insert(0, last),
                None => entry.old_json.push_str(text),
            },
        }
    }
}

fn entry() -> impl Strategy<Value = (Entry, i64)> {
    let texts = (".{0,20}", ".{0,20}", "[a-z0-9-]{0,10}", "[0-9a-f]{0,32}", ".{0,30}", ".{0,30}");
    let numbers = (0..2000_i64, 0..9_i64, any::<bool>(), 0..4_000_000_000_i64);
    (texts, numbers).prop_map(|(texts, (acted_for, plan_id, minor, second))| {
        let (event, actor, request_id, s3uid, old_json, new_json) = texts;
        let cause = Cause { actor, acted_for, request_id };
        let customer_id = 1001;
        let entry = Entry { event, cause, customer_id, plan_id, s3uid, old_json, new_json, minor };
        (entry, second)
    })
}

fn chain_of(entries: Vec<(Entry, i64)>) -> Vec<Chained> {
    let mut chain: Vec<Chained> = Vec::new();
    for (id, (entry, second)) in (1..).zip(entries) {
        let create_time = OffsetDateTime::from_unix_timestamp(second).unwrap();
        let before = chain.last().map(Chained::link).unwrap_or_default();
        chain.push(Chained::after(before, Recorded { id, create_time, entry }));
    }
    chain
}

fn walk(chain: &[Chained]) -> Result<Walk, Break> {
    let mut walk = Walk::default();
    chain.iter().try_for_each(|entry| walk.step(entry))?;
    Ok(walk)
}

proptest! {
    #[test]
    fn any_entries_verify(entries in vec(entry(), 0..20)) {
        let chain = chain_of(entries);
        let walked = walk(&chain).unwrap();
        prop_assert_eq!(walked.last, chain.last().map(Chained::link).unwrap_or_default());
    }

    #[test]
    fn no_single_field_can_be_changed(
        entries in vec(entry(), 1..8),
        at in any::<prop::sample::Index>(),
        field in prop::sample::select(&FIELDS[..]),
        by in 1..1_000_000_000_i64,
        text in ".{1,5}",
    ) {
        let chain = chain_of(entries);
        let at = at.index(chain.len());
        let mut changed = chain.clone();
        field.change(&mut changed[at], (by, &text));
        prop_assert_ne!(&changed, &chain);
        let broken = walk(&changed).unwrap_err();
        prop_assert_eq!(broken.sequence, i64::try_from(at).unwrap() + 1, "{:?}", field);
    }

    #[test]
    fn no_entry_can_be_removed_or_moved(
        entries in vec(entry(), 2..8),
        one in any::<prop::sample::Index>(),
        two in any::<prop::sample::Index>(),
    ) {
        let chain = chain_of(entries);
        let (one, two) = (one.index(chain.len()), two.index(chain.len()));
        let mut less = chain.clone();
        less.remove(one);
        // Without its last entry it is a chain; then it is not one that ends in the head.
        let ends_in_head = walk(&less).is_ok_and(|walk| walk.last == chain.last().unwrap().link());
        prop_assert!(!ends_in_head);
        if one != two {
            let mut swapped = chain.clone();
            swapped.swap(one, two);
            prop_assert!(walk(&swapped).is_err());
            // Nor if they take each other's numbers.
            let numbers = (swapped[one].sequence, swapped[two].sequence);
            (swapped[two].sequence, swapped[one].sequence) = numbers;
            prop_assert!(walk(&swapped).is_err());
        }
    }
}

/// Computed by another program after the words of `audit_service.proto`.
#[test]
fn the_encoding_is_the_one_that_is_documented() {
    let cause = Cause { actor: "administrator".into(), acted_for: 1001, request_id: "r-1".into() };
    let entry = Entry {
        event: "account.ordered".into(),
        cause,
        customer_id: 1001,
        plan_id: 2,
        s3uid: "00ff".into(),
        old_json: String::new(),
        new_json: r#"{"state":"PENDING"}"#.into(),
        minor: false,
    };
    let create_time = OffsetDateTime::from_unix_timestamp_nanos(1_767_225_600_123_456_000).unwrap();
    let chained = Chained::after(Link::default(), Recorded { id: 7, create_time, entry });
    assert_eq!(
        hex::encode(&chained.hash),
        "704206a7ade261742a6fd038aba35e3ce4ef6bf2b204024d883cc5bb8ae117c6"
    );
    let next = Chained::after(chained.link(), chained.recorded.clone());
    assert_eq!(
        hex::encode(&next.hash),
        "bd259b92c0f0a2d9eb497eec8e8d9683c70c46b159ae582f7e7dd3cdf1513f8e"
    );
}
