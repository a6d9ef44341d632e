//! Any S3 whose users are those of IAM as a storage engine: AWS itself, first of all.
//!
//! All buckets are of one AWS account, so S3 knows nothing of ours. An account is
//! - a **user** of IAM, named by its uid, under a path that says whose installation it is of. A
//!   user of that name under another path is never changed, and as good as absent;
//! - its **record** ([`record::Record`]): the inline policy `stowage` of that user. It lists the
//!   buckets that are open to the account, and tells quota, limits and access in its name;
//! - its **buckets**, each with a tag that says whose it is.
//!
//! The tag settles whose a bucket is, since one bucket has one; the record lets the account in,
//! since that is what IAM asks. A name is in the record, shut, before its bucket is made and until
//! it is gone. So what is cut off anywhere is found by the next attempt, and a name that was freed
//! opens nothing to who had it before. Whoever reads the policy sees one specification, never half
//! of two, and any number of processes may do so.
//!
//! What is done in buckets is done by our own hand, which reaches all of them, after a look whose
//! bucket it is, and before another.
//!
//! Keys are made by IAM, which tells a secret once and takes none that was made elsewhere. So no
//! secret is known here: no URL is signed for a customer. Our own hand could sign it, but that URL
//! would work on when the account is suspended or its key revoked, until it ends by itself.
//!
//! Rejected, for whose a bucket is: a prefix of names (customers choose them, in one namespace of
//! the whole world), the list in the policy alone (nobody could tell whose a name is without
//! reading all), policies of buckets (an account's buckets could not be listed, and a suspension
//! would be as many writes as it has buckets), conditions on tags (buckets have to be set up for
//! them, and few servers but AWS know them). Rejected, for the record: tags of the user beside a
//! policy (two texts that are not changed at once).
//!
//! Races that are left, between processes that act in the same moment: two that write one account's
//! record leave the last of them, and the other says `Conflict` if it notices; a bucket that a
//! record has lost so is opened again by the next sweep. Two accounts that make one name in the
//! same tenth of a second may both be let in where S3 does not say who was first (`us-east-1`).

mod account;
mod aws;
mod bucket;
mod count;
mod cursor;
mod iam;
mod options;
mod record;
mod removal;
mod usage;
mod wire;

pub use aws::{Aws, CAPABILITIES};
pub use options::AwsOptions;
pub use stowage_engine_remote::OpenError;
