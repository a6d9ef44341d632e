//! `MeterService`.

use stowage_auth::RequestContext;
use stowage_proto::metering as pb;
use stowage_proto::metering::meter_service_server::MeterService;
use stowage_types::{CustomerId, Malformed, PlanId, S3uid, Violations};
use tonic::{Request, Response, Status};

use super::TEXT_MAX;
use crate::domain::{Dimensions, Metering};
use crate::error::Error;

pub(crate) struct Meters(pub(crate) Metering);

#[tonic::async_trait]
impl MeterService for Meters {
    async fn open_meter(
        &self,
        request: Request<pb::OpenMeterRequest>,
    ) -> Result<Response<pb::OpenMeterResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let dimensions = read_dimensions(request.into_inner().dimensions).map_err(Error::from)?;
        self.0.open_meter(&cx, dimensions).await?;
        Ok(Response::new(pb::OpenMeterResponse {}))
    }

    async fn close_meter(
        &self,
        request: Request<pb::CloseMeterRequest>,
    ) -> Result<Response<pb::CloseMeterResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let s3uid = read_s3uid("s3uid", &request.into_inner().s3uid)?;
        self.0.close_meter(&cx, &s3uid).await?;
        Ok(Response::new(pb::CloseMeterResponse {}))
    }
}

fn read_dimensions(wire: Option<pb::Dimensions>) -> Result<Dimensions, Violations> {
    let Some(wire) = wire else { return Err(Violations::of("dimensions", "is missing")) };
    let mut violations = Violations::default();
    let s3uid = violations.check("dimensions.s3uid", S3uid::parse(&wire.s3uid));
    for (field, number) in [
        ("dimensions.account_id", wire.account_id),
        ("dimensions.customer_id", wire.customer_id),
        ("dimensions.plan_id", wire.plan_id),
        ("dimensions.gb_bytes", wire.gb_bytes),
    ] {
        if number <= 0 {
            violations.push(field, "must be positive");
        }
    }
    for (field, text) in [
        ("dimensions.email", &wire.email),
        ("dimensions.location", &wire.location),
        ("dimensions.storage_type", &wire.storage_type),
        ("dimensions.billing", &wire.billing),
    ] {
        violations.check_length(field, text, TEXT_MAX);
    }
    violations.finish()?;
    let s3uid = s3uid.ok_or_else(|| Violations::of("dimensions.s3uid", "is missing"))?;
    Ok(Dimensions {
        s3uid,
        account_id: wire.account_id,
        customer: CustomerId(wire.customer_id),
        email: wire.email,
        plan: PlanId(wire.plan_id),
        location: wire.location,
        storage_type: wire.storage_type,
        billing: wire.billing,
        gb_bytes: wire.gb_bytes,
    })
}

pub(super) fn read_s3uid(field: &str, text: &str) -> Result<S3uid, Error> {
    S3uid::parse(text).map_err(|Malformed { why }| Error::Invalid(Violations::of(field, why)))
}

pub(super) fn wire_dimensions(dimensions: Dimensions) -> pb::Dimensions {
    pb::Dimensions {
        s3uid: dimensions.s3uid.as_str().to_owned(),
        account_id: dimensions.account_id,
        customer_id: dimensions.customer.0,
        email: dimensions.email,
        plan_id: dimensions.plan.0,
        location: dimensions.location,
        storage_type: dimensions.storage_type,
        billing: dimensions.billing,
        gb_bytes: dimensions.gb_bytes,
    }
}
