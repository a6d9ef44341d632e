//! Table `meter`: what an account is.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::{CustomerId, PlanId, S3uid};
use time::OffsetDateTime;

use crate::domain::{Dimensions, Meter};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    s3uid: String,
    account_id: i64,
    customer_id: i64,
    email: String,
    plan_id: i64,
    location: String,
    storage_type: String,
    billing: String,
    gb_bytes: i64,
    closed_time: Option<OffsetDateTime>,
}

impl Row {
    pub(super) fn read(self) -> Result<Meter, Error> {
        let s3uid = S3uid::parse(&self.s3uid).map_err(|bad| Error::Other { source: bad.into() })?;
        let dimensions = Dimensions {
            s3uid,
            account_id: self.account_id,
            customer: CustomerId(self.customer_id),
            email: self.email,
            plan: PlanId(self.plan_id),
            location: self.location,
            storage_type: self.storage_type,
            billing: self.billing,
            gb_bytes: self.gb_bytes,
        };
        Ok(Meter { dimensions, closed: self.closed_time })
    }
}

/// Opens the meter, or opens it again, with these dimensions.
pub(crate) async fn put(
    tx: &mut Tx,
    dimensions: &Dimensions,
    now: OffsetDateTime,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO meter (s3uid, account_id, customer_id, email, email_lower, \
        plan_id, location, storage_type, billing, gb_bytes, change_time) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (s3uid) DO UPDATE SET \
        account_id = excluded.account_id, customer_id = excluded.customer_id, \
        email = excluded.email, email_lower = excluded.email_lower, plan_id = excluded.plan_id, \
        location = excluded.location, storage_type = excluded.storage_type, \
        billing = excluded.billing, gb_bytes = excluded.gb_bytes, closed_time = NULL, \
        change_time = excluded.change_time";
    let d = dimensions;
    let args = args![
        d.s3uid.as_str(),
        d.account_id,
        d.customer.0,
        &d.email,
        d.email.to_lowercase(),
        d.plan.0,
        &d.location,
        &d.storage_type,
        &d.billing,
        d.gb_bytes,
        now,
    ];
    tx.execute(SQL, args).await?;
    Ok(())
}

/// Closes the meter, if it is there and open, and of this customer if one is given.
pub(crate) async fn close(
    tx: &mut Tx,
    s3uid: &S3uid,
    owner: Option<CustomerId>,
    now: OffsetDateTime,
) -> Result<(), Error> {
    const SQL: &str = "UPDATE meter SET closed_time = $2, change_time = $2 WHERE s3uid = $1 \
        AND closed_time IS NULL AND ($3 IS NULL OR customer_id = $3)";
    let owner = owner.map(|CustomerId(id)| id);
    tx.execute(SQL, args![s3uid.as_str(), now, owner]).await?;
    Ok(())
}

/// The meter, of this customer if one is given.
pub(crate) async fn find(
    mut from: impl Query,
    s3uid: &S3uid,
    owner: Option<CustomerId>,
) -> Result<Option<Meter>, Error> {
    const SQL: &str = "SELECT s3uid, account_id, customer_id, email, plan_id, location, \
        storage_type, billing, gb_bytes, closed_time FROM meter \
        WHERE s3uid = $1 AND ($2 IS NULL OR customer_id = $2)";
    let owner = owner.map(|CustomerId(id)| id);
    let row: Option<Row> = from.fetch_optional(SQL, args![s3uid.as_str(), owner]).await?;
    row.map(Row::read).transpose()
}
