//! What the tests of adapters have in common: accounts, clients of the server's S3, and a network
//! before its administration that loses and repeats.

mod proxy;
mod s3;

pub use proxy::{Proxy, twice};
pub use s3::{Place, refusal};

use stowage_engine::{AccountInfo, AccountSpec, Engine, KeyPair};
use stowage_types::{BucketName, Random as _, S3uid, SystemRandom};

/// What the environment of the test run says.
///
/// # Panics
/// When it says nothing; the message says what the test `needs`, and what starts one.
#[must_use]
pub fn setting(name: &str, needs: &str) -> String {
    let value = std::env::var_os(name)
        .unwrap_or_else(|| panic!("this test needs {needs}, which starts one, or set {name}"));
    value.into_string().expect("it is plain text")
}

/// Hexadecimal digits that no other test has.
#[must_use]
pub fn seed() -> String {
    let mut bytes = [0; 6];
    SystemRandom.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name that no other test has.
///
/// # Panics
/// Never: it keeps to the rules of names.
#[must_use]
pub fn bucket() -> BucketName {
    BucketName::new(&format!("t-{}", seed())).expect("it is a name")
}

/// A key that begins with capital letters of the test's choice.
#[must_use]
pub fn key_pair(beginning: &str) -> KeyPair {
    KeyPair {
        access_key: format!("{beginning}{}", seed().to_uppercase()),
        secret_key: format!("{}{}{}", seed(), seed(), seed()).into(),
    }
}

/// An account with such a key and no limits, to be changed.
#[must_use]
pub fn spec(beginning: &str) -> AccountSpec {
    AccountSpec::new(S3uid::generate(&SystemRandom), vec![key_pair(beginning)])
}

/// An account as the engine has it.
///
/// # Panics
/// When the engine cannot list accounts.
pub async fn info(engine: &dyn Engine, uid: &S3uid) -> Option<AccountInfo> {
    // The uid before it, so that it is the first in the page.
    let number = u128::from_str_radix(uid.as_str(), 16).expect("a uid is a number");
    let before = S3uid::parse(&format!("{:032x}", number - 1)).expect("so is the one before");
    let page = engine.list_accounts(Some(&before), 1).await.expect("accounts are listed");
    page.into_iter().next().filter(|info| info.uid == *uid)
}

/// The account is on the engine what it shall be.
///
/// # Panics
/// When it is not.
pub async fn assert_is(engine: &dyn Engine, spec: &AccountSpec, after: &str) {
    let info = info(engine, &spec.uid).await.expect("the account is there");
    let mut keys: Vec<_> = spec.keys.iter().map(|key| key.access_key.clone()).collect();
    keys.sort();
    assert_eq!(info.access_keys, keys, "{after}");
    assert_eq!((info.quota.bytes, info.access), (spec.quota.bytes, spec.access), "{after}");
}
