//! Credit. WHMCS' list of it is never cut, so what was given under a text is its sum there.

use stowage_provider::Error;

use crate::Whmcs;
use crate::amount::text_of;
use crate::fault::Fault;

/// Looks at the list for one gift, at most: once before it, once after, once more if it was
/// given twice.
const LOOKS_MAX: u32 = 3;

impl Whmcs {
    /// Gives credit unless entries of this text add up to it; takes back what was given twice.
    /// Whoever calls it holds the client's turn.
    pub(crate) async fn give_once(
        &self,
        client: i64,
        text: &str,
        nanos: i128,
    ) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            let all = self.api.credits(client).await.map_err(Fault::halfway)?;
            let given = all.iter().filter(|credit| credit.description == text);
            let given: i128 = given.map(|credit| credit.amount).sum();
            if given == nanos {
                return Ok(());
            }
            let (kind, amount) =
                if given < nanos { ("add", nanos - given) } else { ("remove", given - nanos) };
            let amount = text_of(amount);
            let amount = amount.ok_or_else(|| Error::pending("credit of less than a cent"))?;
            match self.change_credit((client, text), (kind, &amount)).await {
                Err(Fault::Refused { message }) if kind == "remove" => {
                    tracing::error!(message, client, amount, "credit was given twice, and is used");
                    return Ok(());
                }
                changed => changed.map_err(Fault::halfway)?,
            }
        }
        Err(Error::pending("credit that was given is not to be seen"))
    }

    async fn change_credit(
        &self,
        (client, text): (i64, &str),
        (kind, amount): (&str, &str),
    ) -> Result<(), Fault> {
        let id = client.to_string();
        let what =
            [("clientid", id.as_str()), ("description", text), ("amount", amount), ("type", kind)];
        self.api.write("AddCredit", &what).await.map(drop)
    }
}
