//! What a provider that is another system must look up and remember, in billing's database.

use std::sync::Arc;

use async_trait::async_trait;
use stowage_db::Db;
use stowage_provider::{BoxError, CustomerLinks, OrderKey, SpentKeys};
use stowage_types::{Clock, CustomerId, SecretString};

use crate::store;

/// Links of customers and spent keys, for one provider.
#[derive(Debug, Clone)]
pub struct ProviderMemory {
    db: Db,
    clock: Arc<dyn Clock>,
    /// Which installation of a provider.
    provider: String,
}

impl ProviderMemory {
    /// The memory of a provider in `db`, the database of the billing role, with its migrations
    /// applied.
    #[must_use]
    pub fn new(db: Db, clock: Arc<dyn Clock>, provider: &str) -> Self {
        Self { db, clock, provider: provider.to_owned() }
    }
}

#[async_trait]
impl CustomerLinks for ProviderMemory {
    async fn find_client(&self, customer: CustomerId) -> Result<Option<i64>, BoxError> {
        let found = store::customer_link::find_client(&self.db, &self.provider, customer).await?;
        Ok(found)
    }

    async fn find_customer(&self, client_id: i64) -> Result<Option<CustomerId>, BoxError> {
        let found =
            store::customer_link::find_customer(&self.db, &self.provider, client_id).await?;
        Ok(found)
    }

    async fn link(&self, customer: CustomerId, client_id: i64) -> Result<bool, BoxError> {
        let mut tx = self.db.begin().await?;
        let (link, now) = ((customer, client_id), self.clock.now());
        let is_linked = store::customer_link::insert(&mut tx, &self.provider, link, now).await?;
        tx.commit().await?;
        Ok(is_linked)
    }

    async fn find_email(&self, customer: CustomerId) -> Result<Option<SecretString>, BoxError> {
        let found = store::customer_link::find_email(&self.db, customer).await?;
        Ok(found.map(SecretString::from))
    }
}

#[async_trait]
impl SpentKeys for ProviderMemory {
    async fn spend(&self, key: &OrderKey) -> Result<(), BoxError> {
        let mut tx = self.db.begin().await?;
        store::subscription::spend_key(&mut tx, key, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn is_spent(&self, key: &OrderKey) -> Result<bool, BoxError> {
        Ok(store::subscription::is_spent(&self.db, key).await?)
    }
}
