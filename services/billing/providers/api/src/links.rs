//! What a provider that is another system must be able to look up and to remember.

use async_trait::async_trait;
use stowage_types::{CustomerId, SecretString};

use crate::{BoxError, OrderKey};

/// Which client of another billing system a customer is. A link is one to one, and stays.
#[async_trait]
pub trait CustomerLinks: Send + Sync + std::fmt::Debug {
    /// The client that the customer is linked to.
    ///
    /// # Errors
    /// The links cannot be read.
    async fn find_client(&self, customer: CustomerId) -> Result<Option<i64>, BoxError>;

    /// The customer that the client is linked to.
    ///
    /// # Errors
    /// The links cannot be read.
    async fn find_customer(&self, client_id: i64) -> Result<Option<CustomerId>, BoxError>;

    /// Links them. `false`, and nothing is changed, if either is linked to another already.
    ///
    /// # Errors
    /// The link may or may not be there.
    async fn link(&self, customer: CustomerId, client_id: i64) -> Result<bool, BoxError>;

    /// The customer's address of mail, by which a client is found that is not linked yet.
    ///
    /// # Errors
    /// It cannot be read.
    async fn find_email(&self, customer: CustomerId) -> Result<Option<SecretString>, BoxError>;
}

/// The keys that were undone. A system that was never told of an order cannot remember that it
/// must not come any more.
#[async_trait]
pub trait SpentKeys: Send + Sync + std::fmt::Debug {
    /// Remembers a key for ever. It is known to everybody when this returns.
    ///
    /// # Errors
    /// It may or may not be remembered.
    async fn spend(&self, key: &OrderKey) -> Result<(), BoxError>;

    /// Whether a key was remembered.
    ///
    /// # Errors
    /// They cannot be read.
    async fn is_spent(&self, key: &OrderKey) -> Result<bool, BoxError>;
}
