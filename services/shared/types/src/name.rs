//! Resource names, as paths: `accounts/{s3uid}/buckets/{bucket}`.

use uuid::Uuid;

use crate::{BucketName, CustomerId, Malformed, PlanId, S3uid};

fn strip<'a>(text: &'a str, prefix: &str, example: &str) -> Result<&'a str, Malformed> {
    match text.strip_prefix(prefix) {
        Some(rest) if !rest.is_empty() => Ok(rest),
        _ => Err(Malformed::new(format!("is not a name like {example}"))),
    }
}

/// `customers/{customer_id}`.
#[must_use]
pub fn customer(id: CustomerId) -> String {
    format!("customers/{id}")
}

/// Reads `customers/{customer_id}`.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_customer(text: &str) -> Result<CustomerId, Malformed> {
    strip(text, "customers/", "customers/1001")?.parse()
}

/// `plans/{plan_id}`.
#[must_use]
pub fn plan(id: PlanId) -> String {
    format!("plans/{id}")
}

/// Reads `plans/{plan_id}`.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_plan(text: &str) -> Result<PlanId, Malformed> {
    strip(text, "plans/", "plans/1")?.parse()
}

/// `accounts/{s3uid}`.
#[must_use]
pub fn account(uid: &S3uid) -> String {
    format!("accounts/{uid}")
}

/// Reads `accounts/{s3uid}`.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_account(text: &str) -> Result<S3uid, Malformed> {
    S3uid::parse(strip(text, "accounts/", "accounts/{s3uid}")?)
}

/// `locations/{code}`.
#[must_use]
pub fn location(code: &str) -> String {
    format!("locations/{code}")
}

/// Reads `locations/{code}`: 2 to 16 capital letters, digits and hyphens.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_location(text: &str) -> Result<String, Malformed> {
    let code = strip(text, "locations/", "locations/NL")?;
    check_location_code(code)?;
    Ok(code.to_owned())
}

/// Checks the code of a location.
///
/// # Errors
/// `Malformed` if it is not 2 to 16 capital letters, digits and hyphens.
pub fn check_location_code(code: &str) -> Result<(), Malformed> {
    let good = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
    if (2..=16).contains(&code.len()) && code.bytes().all(good) {
        Ok(())
    } else {
        Err(Malformed::new("is not a location code (2 to 16 capitals, digits, hyphens)"))
    }
}

/// Checks what an engine calls somebody who is no account.
///
/// # Errors
/// `Malformed` if it is empty or longer than 1024 bytes.
pub fn check_foreign(text: String) -> Result<String, Malformed> {
    match text.len() {
        1..=1024 => Ok(text),
        _ => Err(Malformed::new("must have 1 to 1024 bytes")),
    }
}

/// `accounts/{s3uid}/buckets/{bucket}`.
#[must_use]
pub fn bucket(uid: &S3uid, bucket: &BucketName) -> String {
    format!("accounts/{uid}/buckets/{bucket}")
}

/// Reads `accounts/{s3uid}/buckets/{bucket}`.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_bucket(text: &str) -> Result<(S3uid, BucketName), Malformed> {
    let example = "accounts/{s3uid}/buckets/{bucket}";
    let rest = strip(text, "accounts/", example)?;
    let (uid, name) = rest
        .split_once("/buckets/")
        .ok_or_else(|| Malformed::new(format!("is not a name like {example}")))?;
    Ok((S3uid::parse(uid)?, BucketName::new(name)?))
}

/// `accounts/{s3uid}/bucketDeletions/{id}`.
#[must_use]
pub fn bucket_deletion(uid: &S3uid, id: Uuid) -> String {
    format!("accounts/{uid}/bucketDeletions/{id}")
}

/// Reads `accounts/{s3uid}/bucketDeletions/{id}`.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_bucket_deletion(text: &str) -> Result<(S3uid, Uuid), Malformed> {
    let example = "accounts/{s3uid}/bucketDeletions/{id}";
    let other = || Malformed::new(format!("is not a name like {example}"));
    let rest = strip(text, "accounts/", example)?;
    let (uid, id) = rest.split_once("/bucketDeletions/").ok_or_else(other)?;
    Ok((S3uid::parse(uid)?, Uuid::parse_str(id).map_err(|_| other())?))
}

/// `accounts/{s3uid}/moves/{id}`.
#[must_use]
pub fn account_move(uid: &S3uid, id: Uuid) -> String {
    format!("accounts/{uid}/moves/{id}")
}

/// Reads `accounts/{s3uid}/moves/{id}`.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_account_move(text: &str) -> Result<(S3uid, Uuid), Malformed> {
    let example = "accounts/{s3uid}/moves/{id}";
    let other = || Malformed::new(format!("is not a name like {example}"));
    let rest = strip(text, "accounts/", example)?;
    let (uid, id) = rest.split_once("/moves/").ok_or_else(other)?;
    Ok((S3uid::parse(uid)?, Uuid::parse_str(id).map_err(|_| other())?))
}

/// `invoices/{invoice_id}`.
#[must_use]
pub fn invoice(id: i64) -> String {
    format!("invoices/{id}")
}

/// Reads `invoices/{invoice_id}`.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_invoice(text: &str) -> Result<i64, Malformed> {
    match strip(text, "invoices/", "invoices/1")?.parse() {
        Ok(id) if id > 0 => Ok(id),
        _ => Err(Malformed::new("is not a name like invoices/1")),
    }
}

/// `subscriptions/{service_id}`.
#[must_use]
pub fn subscription(service_id: i64) -> String {
    format!("subscriptions/{service_id}")
}

/// Reads `subscriptions/{service_id}`.
///
/// # Errors
/// `Malformed` otherwise.
pub fn parse_subscription(text: &str) -> Result<i64, Malformed> {
    match strip(text, "subscriptions/", "subscriptions/1")?.parse() {
        Ok(id) if id > 0 => Ok(id),
        _ => Err(Malformed::new("is not a name like subscriptions/1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        let uid = S3uid::parse(&"a".repeat(32)).unwrap();
        let name = BucketName::new("photos").unwrap();
        assert_eq!(parse_bucket(&bucket(&uid, &name)), Ok((uid.clone(), name)));
        let id = Uuid::max();
        assert_eq!(parse_bucket_deletion(&bucket_deletion(&uid, id)), Ok((uid.clone(), id)));
        assert_eq!(parse_account(&account(&uid)), Ok(uid));
        assert_eq!(parse_customer("customers/7"), Ok(CustomerId(7)));
        assert_eq!(parse_plan(&plan(PlanId(3))), Ok(PlanId(3)));
        assert_eq!(parse_location("locations/NL").as_deref(), Ok("NL"));
        assert_eq!(parse_subscription(&subscription(9)), Ok(9));
        assert_eq!(parse_invoice(&invoice(9)), Ok(9));
    }

    #[test]
    fn other_texts_do_not_parse() {
        for bad in ["", "customers/", "customers/x", "customers/-1", "customer/1", "plans/1"] {
            assert!(parse_customer(bad).is_err(), "{bad}");
        }
        assert!(parse_location("locations/nl").is_err());
        assert!(parse_bucket("accounts/x/buckets/abc").is_err());
        let one = format!("accounts/{}/bucketDeletions/1", "a".repeat(32));
        assert!(parse_bucket_deletion(&one).is_err());
    }
}
