//! The metering front: a port before an engine's S3 that counts what moves, for engines that have
//! no figures of their own.
//!
//! - `serve`: the port. `exchange`: one request and its answer. `upload`, `download`: their bodies,
//!   streamed. `headers`: what is between two connections only. `naming`: which key and bucket a
//!   request names.
//! - `meter`: one request's figures. [`Counts`]: all that was counted and is not written yet.
//!   `owners`: which account a key is of.
//!
//! Request line, headers, `Host` among them, and bodies pass as they came: signatures hold. No
//! body is gathered: what is read is passed on before more is read.
//!
//! # Who pays
//! The account of the access key that a request names, once the engine has shown that it took the
//! signature. The front knows no secrets and checks none: it goes by the answer.
//! - Charged: success, 304, 404, 409, 412 and 416, which no engine says before it has checked the
//!   signature. Everything else is charged to nobody and counted apart by location: 401 and 403,
//!   but also 400, 405, 501 and the like, which engines say of requests that they have not checked
//!   yet; 5xx, which is not the customer's doing; and `OPTIONS`, which is answered unsigned.
//! - A request that names no key is charged to nobody; one that names two is refused, since the
//!   engine might take the other one. So are forms (`POST` of `multipart/form-data`), whose key
//!   is in the body, and would pass for nobody's.
//! - Only the account's own buckets are named. What is for another bucket, or one that is not
//!   there, is counted on the account without a bucket.
//! - A client that goes away before the answer: its request stays at the engine for [`GRACE`]
//!   without more of its body. Refused meanwhile, it is charged to nobody; answered, by that;
//!   else it is charged as far as it went, since an engine checks the head before it waits for
//!   the body.
//!
//! So whoever knows another's access key, which is no secret, can charge him only while the engine
//! takes longer than [`GRACE`] to refuse: a request, and what fits into the buffers between, since
//! an engine that refuses nothing reads nothing either. No more than [`LINGERING_MAX`] such
//! requests are waited for at once; those beyond are charged to nobody.
//!
//! A key that went to another account is the former one's for a minute at most.
//!
//! # What is lost
//! Counts are in memory until they are written, about every second and at the end: a process that
//! is killed loses what it counted since, and what uploads had sent that were not answered yet.
//! Their bytes are in the hour of the answer.
//!
//! Rejected: charging by the signature (the front would need every secret); taking the key as the
//! payer whatever the answer is (anybody could charge anybody); asking who a key is before passing
//! a request on (a slow administration would slow every client).

mod counts;
mod download;
mod exchange;
pub mod fuzzing;
mod headers;
mod meter;
mod naming;
mod options;
mod owners;
mod refusal;
mod serve;
mod upload;

pub use counts::{Batch, Counts, Moved, Row};
pub use exchange::{GRACE, LINGERING_MAX};
pub use options::FrontOptions;
pub use serve::Front;
pub use stowage_engine_remote::OpenError;
