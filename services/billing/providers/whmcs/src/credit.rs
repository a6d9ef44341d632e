//! Credit. WHMCS' list of it is never cut, so what was given under a key is its sum there.

use stowage_provider::{Credit, Error, NewCredit, PaymentRefusal, PaymentTerms, Standing};
use stowage_types::{CustomerId, Money};

use crate::Whmcs;
use crate::amount::text_of;
use crate::customers::{TOO_FINE, check_currency};
use crate::fault::{Fault, unread};
use crate::wire::Transaction;

/// Looks at the list for one gift, at most: once before it, once after, once more if it was
/// given twice.
const LOOKS_MAX: u32 = 3;

impl Whmcs {
    /// Gives customers credit, each once under its key.
    pub(crate) async fn grant(&self, credits: &[NewCredit]) -> Result<(), Error> {
        for new in credits {
            let client = self.client_of(new.customer).await?;
            let _turn = self.turns.hold(client).await?;
            check_currency(self.currency_of(client).await?, new.amount)?;
            if text_of(new.amount.nanos()).is_none() || new.amount.nanos() <= 0 {
                return Err(Error::Refused { why: TOO_FINE.to_owned() });
            }
            let key = (new.text.as_str(), format!("[{}]", new.key));
            self.give_once(client, (key.0, &key.1), new.amount.nanos()).await?;
        }
        Ok(())
    }

    /// Gives credit unless entries of this key add up to it; takes back what was given twice.
    /// Whoever calls it holds the client's turn.
    pub(crate) async fn give_once(
        &self,
        client: i64,
        (text, key): (&str, &str),
        nanos: i128,
    ) -> Result<(), Error> {
        let text = format!("{text} {key}");
        for _ in 0..LOOKS_MAX {
            let all = self.api.credits(client).await.map_err(Fault::halfway)?;
            let given = all.iter().filter(|credit| credit.description.ends_with(key));
            let given: i128 = given.map(|credit| credit.amount).sum();
            if given == nanos {
                return Ok(());
            }
            let (kind, amount) =
                if given < nanos { ("add", nanos - given) } else { ("remove", given - nanos) };
            let amount = text_of(amount);
            let amount = amount.ok_or_else(|| Error::pending("credit of less than a cent"))?;
            match self.change_credit((client, &text), (kind, &amount)).await {
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

    /// Books money that came in for no invoice: a transaction, whose reference is taken once.
    pub(crate) async fn take_in(&self, new: &NewCredit) -> Result<(), Error> {
        let refuse = |why| Err(PaymentRefusal::Other { why }.into());
        let Some(amount) = text_of(new.amount.nanos()).filter(|_| new.amount.nanos() > 0) else {
            return refuse("the billing system books whole hundredths of the currency's unit");
        };
        let client = self.client_of(new.customer).await?;
        let _turn = self.turns.hold(client).await?;
        if self.currency_of(client).await? != new.amount.currency() {
            return refuse("the billing system bills this customer in another currency");
        }
        let booked = self.api.transactions(&new.key).await?;
        let is_same = |own: &Transaction| {
            own.client == client && own.invoice == 0 && own.amount == new.amount.nanos()
        };
        match booked.first() {
            Some(own) if is_same(own) => return Ok(()),
            Some(_) => return refuse("its reference is that of another payment"),
            None => {}
        }
        let id = client.to_string();
        let what = [
            ("userid", id.as_str()),
            ("paymentmethod", &self.options.payment_method),
            ("transid", &new.key),
            ("description", &new.text),
            ("amountin", &amount),
            ("credit", "1"),
        ];
        match self.api.write("AddTransaction", &what).await {
            Ok(_) => Ok(()),
            // It may be there since we looked; the repeat sees it.
            Err(fault) => Err(fault.into()),
        }
    }

    /// WHMCS knows no customers who must pay in advance: an invoice is due when it is due.
    pub(crate) async fn standing(&self, customer: CustomerId) -> Result<Standing, Error> {
        let client = self.memory.links.find_client(customer).await.map_err(Error::unavailable)?;
        let mut credits = Vec::new();
        if let Some(client) = client {
            let found = self.api.client(("clientid", &client.to_string())).await;
            if let Some(found) = found.map_err(unread)? {
                let money = |nanos| Money::from_nanos(nanos, found.currency);
                credits.push(Credit { usable: money(found.credit), held: money(0) });
            }
        }
        Ok(Standing { terms: PaymentTerms::Invoiced, has_own_terms: false, credits })
    }
}
