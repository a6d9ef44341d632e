//! Sagas as operators see and change them. What they are is in `services/shared/saga`.

use stowage_auth::RequestContext;
use stowage_request::Once;
use stowage_saga::{Filter, Info};
use uuid::Uuid;

use super::history::{Cause, Entry, Event};
use super::{Domain, Page, check_operator};
use crate::error::Error;

/// One saga.
#[derive(Debug, Clone)]
pub(crate) struct Saga(pub(crate) Info);

impl Domain {
    /// Sagas, newest first.
    pub(crate) async fn list_sagas(
        &self,
        cx: &RequestContext,
        mut filter: Filter,
    ) -> Result<Page<Saga>, Error> {
        check_operator(cx, "operate sagas")?;
        let size = i64::try_from(filter.max).unwrap_or(i64::MAX);
        filter.max = filter.max.saturating_add(1);
        let found = self.sagas.list(&filter).await?;
        Ok(Page::of(found.into_iter().map(Saga).collect(), size))
    }

    /// One saga.
    pub(crate) async fn get_saga(&self, cx: &RequestContext, id: Uuid) -> Result<Saga, Error> {
        check_operator(cx, "operate sagas")?;
        Ok(Saga(self.sagas.find(id).await.map_err(refusal_of)?))
    }

    /// Tries a saga again.
    pub(crate) async fn retry_saga(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<Saga>,
    ) -> Result<Saga, Error> {
        check_operator(cx, "operate sagas")?;
        let mut tx = self.shared.db.begin().await?;
        let saga = Saga(self.sagas.retry(&mut tx, id).await.map_err(refusal_of)?);
        self.change_saga(tx, (cx, Event::SagaRetried), &saga, once).await?;
        Ok(saga)
    }

    /// Turns a saga back.
    pub(crate) async fn undo_saga(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<Saga>,
    ) -> Result<Saga, Error> {
        check_operator(cx, "operate sagas")?;
        let mut tx = self.shared.db.begin().await?;
        let why = format!("turned back by {}", cx.actor());
        let saga = Saga(self.sagas.undo(&mut tx, id, &why).await.map_err(refusal_of)?);
        self.change_saga(tx, (cx, Event::SagaUndone), &saga, once).await?;
        Ok(saga)
    }

    /// Writes into history who changed a saga, and lets it go on.
    async fn change_saga(
        &self,
        mut tx: stowage_db::Tx,
        (cx, event): (&RequestContext, Event),
        saga: &Saga,
        once: &Once<Saga>,
    ) -> Result<(), Error> {
        let Info { id, kind, step, .. } = &saga.0;
        Entry::new(event, Cause::of(cx))
            .new_state(serde_json::json!({ "saga": id, "kind": kind, "step": step }))
            .write(&mut tx, self.shared.clock.now())
            .await?;
        once.answer(&mut tx, saga).await?;
        tx.commit().await?;
        self.sagas.nudge(*id);
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
