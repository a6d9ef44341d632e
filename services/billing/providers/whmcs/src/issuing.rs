//! Invoices of our own, for usage, and credit: each is known by a key that is printed on it.

use stowage_provider::Error;

use crate::Whmcs;

/// Begins the line of the notes that names the key of an invoice of ours, and its service.
const MARK: &str = "Stowage ";

/// The service that the notes of an invoice of ours name.
pub(crate) fn service_in(notes: &str) -> Option<i64> {
    let line = notes.lines().find_map(|line| line.trim().strip_prefix(MARK))?;
    let (_, service) = line.rsplit_once(' ')?;
    service.parse().ok().filter(|id| *id > 0)
}

impl Whmcs {
    /// Gives credit unless an entry of this text is there. Whoever calls it holds the client's
    /// turn.
    pub(crate) async fn add_credit_once(
        &self,
        client: i64,
        text: &str,
        amount: &str,
    ) -> Result<(), Error> {
        let had = self.api.credits(client).await.map_err(|fault| fault.halfway())?;
        if had.iter().any(|credit| credit.description == text && credit.amount > 0) {
            return Ok(());
        }
        let id = client.to_string();
        let what =
            [("clientid", id.as_str()), ("description", text), ("amount", amount), ("type", "add")];
        let added = self.api.write("AddCredit", &what).await;
        added.map(drop).map_err(|fault| fault.halfway())
    }
}
