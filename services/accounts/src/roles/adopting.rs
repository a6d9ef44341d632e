//! Who is on an engine and becomes an account, as storage tells and does it.

use stowage_auth::RequestContext;
use stowage_proto::storage;
use stowage_types::{CustomerId, S3uid, name};

use super::{CallError, EngineKey, Roles};

/// Who is on an engine and no account.
#[derive(Debug)]
pub(crate) struct Foreign {
    /// The only one that it can become; `None`: any.
    pub(crate) s3uid: Option<S3uid>,
    pub(crate) access_keys: Vec<String>,
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
    /// Why it cannot become an account as it is; empty: it can.
    pub(crate) obstacle: String,
}

/// What an account has that was somebody else's.
pub(crate) struct Adopted {
    pub(crate) endpoint: String,
    pub(crate) keys: Vec<EngineKey>,
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
}

impl Roles {
    /// Who has a name on the engine of a location.
    pub(crate) async fn foreign_account(
        &self,
        cx: &RequestContext,
        (location, foreign): (&str, &str),
    ) -> Result<Foreign, CallError> {
        let (parent, foreign) = (name::location(location), foreign.to_owned());
        let message = storage::GetForeignAccountRequest { parent, foreign };
        let found = self.adoptions.clone().get_foreign_account(cx.outgoing(message)).await?;
        let found = found.into_inner();
        Ok(Foreign {
            s3uid: name::parse_account(&found.account).ok(),
            access_keys: found.access_keys,
            quota_bytes: found.quota_bytes,
            bucket_max: found.bucket_max,
            obstacle: found.obstacle,
        })
    }

    /// Makes who has a name there an account.
    pub(crate) async fn adopt_engine_account(
        &self,
        cx: &RequestContext,
        (s3uid, customer): (&S3uid, CustomerId),
        (location, foreign): (&str, &str),
    ) -> Result<Adopted, CallError> {
        let message = storage::AdoptEngineAccountRequest {
            name: name::account(s3uid),
            customer_id: customer.0,
            location: name::location(location),
            foreign: foreign.to_owned(),
        };
        let adopted = self.adoptions.clone().adopt_engine_account(cx.outgoing(message)).await?;
        let storage::AdoptEngineAccountResponse { endpoint, keys, quota_bytes, bucket_max } =
            adopted.into_inner();
        Ok(Adopted {
            endpoint,
            keys: keys.into_iter().map(EngineKey::from).collect(),
            quota_bytes,
            bucket_max,
        })
    }
}
