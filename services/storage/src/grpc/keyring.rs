//! `KeyringService`.

use stowage_auth::RequestContext;
use stowage_proto::common::{MasterKey, Rewrapped, RoleKeyring, SealedRecords};
use stowage_proto::storage as pb;
use stowage_proto::storage::keyring_service_server::KeyringService;
use stowage_types::{page, timestamp};
use tonic::{Request, Response, Status};

use super::Api;
use crate::domain::keyring::{Cursor, View};
use crate::domain::signed;
use crate::error::Error;

const LISTING: &str = "rewrap";

#[tonic::async_trait]
impl KeyringService for Api {
    async fn get_keyring(
        &self,
        request: Request<pb::GetKeyringRequest>,
    ) -> Result<Response<RoleKeyring>, Status> {
        let cx = RequestContext::of(&request)?;
        Ok(Response::new(merged(self.0.storage.keyrings(&cx).await?)))
    }

    async fn rewrap_records(
        &self,
        request: Request<pb::RewrapRecordsRequest>,
    ) -> Result<Response<Rewrapped>, Status> {
        let cx = RequestContext::of(&request)?;
        let token = request.into_inner().page_token;
        let from = page::decode(LISTING, "", &token).map_err(|_| Error::PageTokenInvalid)?;
        let from = from.map_or_else(|| Some(Cursor::default()), |text| read_cursor(&text));
        let from = from.ok_or(Error::PageTokenInvalid)?;
        let (done, next) = self.0.storage.rewrap(&cx, from).await?;
        let token = |next: Cursor| format!("{}/{}", next.location, next.after);
        let next = next.map(|next| page::encode(LISTING, "", &token(next)));
        Ok(Response::new(Rewrapped {
            moved: signed(done.moved),
            refused: signed(done.refused),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}

fn read_cursor(text: &str) -> Option<Cursor> {
    let (location, after) = text.split_once('/')?;
    Some(Cursor { location: location.to_owned(), after: after.to_owned() })
}

/// All in one process have one keyring; what they know of it may differ for an instant, so the
/// least of it is told.
fn merged(view: View) -> RoleKeyring {
    let View { master_keys, sealing_version, settings, engines } = view;
    let mut role = RoleKeyring { role: "storage".to_owned(), ..Default::default() };
    let engine_of = engines.iter().map(|(_, keyring)| keyring);
    let least = engine_of.min_by_key(|keyring| keyring.sealing_version);
    let least = least.filter(|keyring| keyring.sealing_version < sealing_version);
    let told = least.map_or((sealing_version, &master_keys), |keyring| {
        (keyring.sealing_version, &keyring.master_keys)
    });
    role.sealing_version = told.0;
    role.master_keys = told.1.iter().map(master_key).collect();
    role.records.extend(settings.into_iter().map(|(version, count)| SealedRecords {
        kind: "location".to_owned(),
        version,
        count,
    }));
    for (location, keyring) in engines {
        role.records.extend(keyring.access_keys.into_iter().map(|(version, count)| {
            SealedRecords { kind: format!("{location}/access_key"), version, count: signed(count) }
        }));
    }
    role
}

fn master_key(key: &stowage_engine::MasterKey) -> MasterKey {
    MasterKey { version: key.version, usable_time: key.usable_time.map(timestamp) }
}
