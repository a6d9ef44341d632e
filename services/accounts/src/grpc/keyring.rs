//! `KeyringService`.

use stowage_auth::RequestContext;
use stowage_keyring::Version;
use stowage_proto::accounts as pb;
use stowage_proto::common::{MasterKey, Rewrapped, RoleKeyring, SealedRecords};
use stowage_types::{page, timestamp};
use tonic::{Request, Response, Status, async_trait};

use super::Service;
use crate::domain::keyring::{Cursor, Part, Records, Retired, Rotated, View};
use crate::error::Error;

const LISTING: &str = "rewrap";

#[async_trait]
impl pb::keyring_service_server::KeyringService for Service {
    async fn get_keyring(
        &self,
        request: Request<pb::GetKeyringRequest>,
    ) -> Result<Response<RoleKeyring>, Status> {
        let cx = RequestContext::of(&request)?;
        Ok(Response::new(self.domain.get_keyring(&cx).await?.into()))
    }

    async fn rotate_master_key(
        &self,
        request: Request<pb::RotateMasterKeyRequest>,
    ) -> Result<Response<pb::RotateMasterKeyResponse>, Status> {
        let read = |_: pb::RotateMasterKeyRequest| Ok::<(), Error>(());
        let work = async |cx, (), once| self.domain.rotate_master_key(&cx, &once).await;
        self.domain.requests.once(request, read, work).await
    }

    async fn rewrap_records(
        &self,
        request: Request<pb::RewrapRecordsRequest>,
    ) -> Result<Response<Rewrapped>, Status> {
        let cx = RequestContext::of(&request)?;
        let from = page::decode(LISTING, "", &request.into_inner().page_token);
        let from = from.map_err(|_| Error::PageTokenInvalid)?;
        let from = from.map_or_else(|| Ok(Cursor::default()), |text| text.parse())?;
        let Part { moved, refused, next } = self.domain.rewrap_records(&cx, from).await?;
        let next = next.map(|next| page::encode(LISTING, "", &next.to_string()));
        let next_page_token = next.unwrap_or_default();
        Ok(Response::new(Rewrapped { moved, refused, next_page_token }))
    }

    async fn retire_master_key(
        &self,
        request: Request<pb::RetireMasterKeyRequest>,
    ) -> Result<Response<pb::RetireMasterKeyResponse>, Status> {
        let read = |request: pb::RetireMasterKeyRequest| match request.version {
            0 => Err(Error::field("version", "is not the version of a master key")),
            version => Ok(version),
        };
        let work =
            async |cx, version, once| self.domain.retire_master_key(&cx, version, &once).await;
        self.domain.requests.once(request, read, work).await
    }
}

impl From<Rotated> for pb::RotateMasterKeyResponse {
    fn from(Rotated(key): Rotated) -> Self {
        Self { version: key.version, usable_time: key.usable_time.map(timestamp) }
    }
}

impl From<Retired> for pb::RetireMasterKeyResponse {
    fn from(_: Retired) -> Self {
        Self {}
    }
}

impl From<View> for RoleKeyring {
    fn from(view: View) -> Self {
        let master_key = |key: Version| MasterKey {
            version: key.version,
            usable_time: key.usable_time.map(timestamp),
        };
        let records = |records: Records| SealedRecords {
            kind: records.kind.to_owned(),
            version: records.version,
            count: records.count,
        };
        Self {
            role: "accounts".to_owned(),
            master_keys: view.versions.into_iter().map(master_key).collect(),
            sealing_version: view.sealing_version,
            records: view.records.into_iter().map(records).collect(),
        }
    }
}
