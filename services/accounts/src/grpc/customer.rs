//! `CustomerService`.

use stowage_auth::RequestContext;
use stowage_proto::accounts as pb;
use stowage_types::{Currency, Violations, name, page, timestamp};
use tonic::{Request, Response, Status, async_trait};

use super::{Service, read_page};
use crate::domain::customer::{Customer, NewCustomer, check_email};
use crate::error::Error;

const LISTING: &str = "customers";

#[async_trait]
impl pb::customer_service_server::CustomerService for Service {
    async fn create_customer(
        &self,
        request: Request<pb::CreateCustomerRequest>,
    ) -> Result<Response<pb::Customer>, Status> {
        let work = async |cx, new, once| self.domain.create_customer(&cx, new, &once).await;
        self.domain.requests.once(request, NewCustomer::try_from, work).await
    }

    async fn get_customer(
        &self,
        request: Request<pb::GetCustomerRequest>,
    ) -> Result<Response<pb::Customer>, Status> {
        let cx = RequestContext::of(&request)?;
        // A name that is none cannot be anybody's.
        let id = name::parse_customer(&request.into_inner().name)
            .map_err(|error| Error::field("name", &error.why))?;
        let customer = self.domain.get_customer(&cx, id).await?;
        Ok(Response::new(customer.into()))
    }

    async fn list_customers(
        &self,
        request: Request<pb::ListCustomersRequest>,
    ) -> Result<Response<pb::ListCustomersResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::ListCustomersRequest { page_size, page_token } = request.into_inner();
        let (after, size) = read_page::<i64>((LISTING, ""), page_size, &page_token)?;
        let page = self.domain.list_customers(&cx, after.unwrap_or(0), size).await?;
        let last = page.rows.last().filter(|_| !page.is_last);
        let next_page_token =
            last.map(|row| page::encode(LISTING, "", &row.id.to_string())).unwrap_or_default();
        let customers = page.rows.into_iter().map(pb::Customer::from).collect();
        Ok(Response::new(pb::ListCustomersResponse { customers, next_page_token }))
    }
}

impl TryFrom<pb::CreateCustomerRequest> for NewCustomer {
    type Error = Error;

    fn try_from(request: pb::CreateCustomerRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let customer = request.customer.unwrap_or_default();
        let email = violations.check("customer.email", check_email(&customer.email));
        let currency = violations.check("customer.currency", Currency::parse(&customer.currency));
        violations.finish()?;
        let (Some(email), Some(currency)) = (email, currency) else {
            return Err(Error::internal("a checked field is missing"));
        };
        Ok(Self { email, currency })
    }
}

impl From<Customer> for pb::Customer {
    fn from(customer: Customer) -> Self {
        Self {
            name: name::customer(customer.id),
            customer_id: customer.id.0,
            email: customer.email,
            currency: customer.currency.to_string(),
            create_time: Some(timestamp(customer.create_time)),
        }
    }
}
