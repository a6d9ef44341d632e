//! What billing says of unpaid invoices: an account is held stage by stage, and let go again.

use async_trait::async_trait;
use prost::Message as _;
use stowage_auth::RequestContext;
use stowage_bus::{BoxError, Event, Handler, Refused, first_time};
use stowage_proto::billing::{DunningStage, InvoiceEased, InvoiceOverdue, InvoiceSettled};
use stowage_types::S3uid;

use crate::domain::Domain;
use crate::domain::dunning::{Stage, Told, Word};
use crate::error::Error;

/// Type of [`InvoiceOverdue`].
pub(crate) const INVOICE_OVERDUE: &str = "stowage.billing.invoice.overdue.v1";
/// Type of [`InvoiceEased`].
pub(crate) const INVOICE_EASED: &str = "stowage.billing.invoice.eased.v1";
/// Type of [`InvoiceSettled`].
pub(crate) const INVOICE_SETTLED: &str = "stowage.billing.invoice.settled.v1";
/// Names the consumer in the inbox.
pub(crate) const DUNNING_CONSUMER: &str = "accounts.dunning";

/// Takes all three events.
pub(crate) struct Dunning(pub(crate) Domain);

#[async_trait]
impl Handler for Dunning {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let shared = &self.0.shared;
        // An old event that comes again must not undo what a newer one has done. Those of an older
        // sender carry no number that would tell.
        let mut tx = shared.db.begin().await?;
        if !first_time(&mut tx, DUNNING_CONSUMER, event, &*shared.clock).await? {
            return Ok(());
        }
        drop(tx);
        let word = read(event)?;
        let cx = RequestContext::background(format!("invoice-{}", word.invoice_id));
        match self.0.take_word(&cx, &word).await {
            // One account that somebody must look at does not hold up what is said of the others.
            Err(error @ (Error::AccountBusy | Error::ChangeFailed { .. })) => {
                return Err(refused(&error.to_string()));
            }
            taken => taken?,
        }
        let mut tx = shared.db.begin().await?;
        first_time(&mut tx, DUNNING_CONSUMER, event, &*shared.clock).await?;
        Ok(tx.commit().await?)
    }
}

fn read(event: &Event) -> Result<Word, BoxError> {
    let data = event.data.as_slice();
    Ok(match event.kind.as_str() {
        INVOICE_OVERDUE => {
            let told = InvoiceOverdue::decode(data)?;
            let stage = stage_of(told.stage)?.unwrap_or(Stage::Suspended);
            Word {
                s3uid: s3uid_of(&told.s3uid)?,
                invoice_id: told.invoice_id,
                told: Told::Overdue(stage, told.reminder),
                account_stage: stage_of(told.account_stage)?.unwrap_or(stage),
                sequence: told.sequence,
            }
        }
        INVOICE_EASED => {
            let told = InvoiceEased::decode(data)?;
            let stage = stage_of(told.account_stage)?;
            Word {
                s3uid: s3uid_of(&told.s3uid)?,
                invoice_id: told.invoice_id,
                told: Told::Settled,
                account_stage: stage.ok_or_else(|| refused("it names no stage"))?,
                sequence: told.sequence,
            }
        }
        _ => {
            let told = InvoiceSettled::decode(data)?;
            Word {
                s3uid: s3uid_of(&told.s3uid)?,
                invoice_id: told.invoice_id,
                told: Told::Settled,
                account_stage: Stage::Nothing,
                sequence: told.sequence,
            }
        }
    })
}

fn refused(why: &str) -> BoxError {
    Box::new(Refused { why: why.to_owned() })
}

fn s3uid_of(text: &str) -> Result<S3uid, BoxError> {
    S3uid::parse(text).map_err(|_| refused("it names no account"))
}

/// `None`: not said.
fn stage_of(wire: i32) -> Result<Option<Stage>, BoxError> {
    let stage = DunningStage::try_from(wire);
    Ok(match stage.map_err(|_| refused("it names a stage that is not known here"))? {
        DunningStage::Unspecified => None,
        DunningStage::Reminder => Some(Stage::Reminder),
        DunningStage::ReadOnly => Some(Stage::ReadOnly),
        DunningStage::Suspended => Some(Stage::Suspended),
        DunningStage::Ended => Some(Stage::Ended),
    })
}
