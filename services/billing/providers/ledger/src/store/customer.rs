//! Customers who pay in another way than the installation's others.

use std::collections::BTreeMap;

use stowage_db::{Args, Error, Query, Tx, args};
use stowage_provider::PaymentTerms;

fn text(terms: PaymentTerms) -> &'static str {
    match terms {
        PaymentTerms::Prepaid => "prepaid",
        PaymentTerms::Invoiced => "invoiced",
    }
}

/// Sets how a customer pays; `None`: as the others.
pub(crate) async fn set(
    tx: &mut Tx,
    customer_id: i64,
    terms: Option<PaymentTerms>,
) -> Result<(), Error> {
    match terms {
        None => {
            let sql = "DELETE FROM ledger_customer WHERE customer_id = $1";
            tx.execute(sql, args![customer_id]).await?;
        }
        Some(terms) => {
            let sql = "INSERT INTO ledger_customer (customer_id, payment) VALUES ($1, $2) \
                ON CONFLICT (customer_id) DO UPDATE SET payment = excluded.payment";
            tx.execute(sql, args![customer_id, text(terms)]).await?;
        }
    }
    Ok(())
}

/// How those of the customers pay who pay in a way of their own.
pub(crate) async fn find(
    mut from: impl Query,
    customers: &[i64],
) -> Result<BTreeMap<i64, PaymentTerms>, Error> {
    if customers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut args = Args::new();
    let places = args.push_all(customers.iter().copied());
    let sql =
        format!("SELECT customer_id, payment FROM ledger_customer WHERE customer_id IN ({places})");
    let rows: Vec<(i64, String)> = from.fetch_all_built(sql, args).await?;
    let read = |(customer_id, payment): (i64, String)| {
        let known = [PaymentTerms::Prepaid, PaymentTerms::Invoiced];
        let terms = known.into_iter().find(|terms| text(*terms) == payment);
        Some((customer_id, terms?))
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
