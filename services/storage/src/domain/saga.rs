//! Sagas as operators see and change them. What they are is in `services/shared/saga`.

use stowage_auth::RequestContext;
use stowage_request::Once;
use stowage_saga::{Filter, Info};
use uuid::Uuid;

use super::bucket_saga::BucketState;
use super::change::{Change, Told, What};
use super::{Domain, check_operator};
use crate::error::Error;

impl Domain {
    /// Sagas, newest first.
    pub(crate) async fn list_sagas(
        &self,
        cx: &RequestContext,
        filter: &Filter,
    ) -> Result<Vec<Info>, Error> {
        check_operator(cx, "operate sagas")?;
        Ok(self.sagas.list(filter).await?)
    }

    /// One saga.
    pub(crate) async fn get_saga(&self, cx: &RequestContext, id: Uuid) -> Result<Info, Error> {
        check_operator(cx, "operate sagas")?;
        self.sagas.find(id).await.map_err(refusal_of)
    }

    /// Tries a saga again.
    pub(crate) async fn retry_saga(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<Info>,
    ) -> Result<Info, Error> {
        check_operator(cx, "operate sagas")?;
        let mut tx = self.storage.db.begin().await?;
        let saga = self.sagas.retry(&mut tx, id).await.map_err(refusal_of)?;
        self.change_saga(tx, (cx, What::SagaRetried), &saga, once).await?;
        Ok(saga)
    }

    /// Turns a saga back.
    pub(crate) async fn undo_saga(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<Info>,
    ) -> Result<Info, Error> {
        check_operator(cx, "operate sagas")?;
        let mut tx = self.storage.db.begin().await?;
        let why = format!("turned back by {}", cx.actor());
        let saga = self.sagas.undo(&mut tx, id, &why).await.map_err(refusal_of)?;
        self.change_saga(tx, (cx, What::SagaUndone), &saga, once).await?;
        Ok(saga)
    }

    /// Tells history who changed a saga, and lets it go on.
    async fn change_saga(
        &self,
        mut tx: stowage_db::Tx,
        (cx, what): (&RequestContext, What),
        saga: &Info,
        once: &Once<Info>,
    ) -> Result<(), Error> {
        let state: BucketState = serde_json::from_str(&saga.state).map_err(Error::internal)?;
        let (uid, bucket) = (&state.uid, &state.bucket);
        let change = Change { what, uid, bucket, key: "" };
        self.storage.push_change(&mut tx, &Told::of(cx), &change).await?;
        once.answer(&mut tx, saga).await?;
        tx.commit().await?;
        self.sagas.nudge(saga.id);
        Ok(())
    }
}

fn refusal_of(error: stowage_saga::Error) -> Error {
    match error {
        stowage_saga::Error::NotFound(_) => Error::SagaNotFound,
        stowage_saga::Error::Ended(status) => Error::SagaEnded { status: status.text() },
        stowage_saga::Error::ForwardOnly(kind) => Error::SagaForwardOnly { kind },
        stowage_saga::Error::UnknownKind(kind) => Error::SagaKindUnknown { kind },
        other => other.into(),
    }
}
