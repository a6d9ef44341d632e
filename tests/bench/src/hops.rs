//! A read by two bare gRPC servers, one behind the other, with nothing in them: what two hops cost
//! any program that has them.

use std::net::{Ipv4Addr, SocketAddr};

use http::Uri;
use sqlx::PgPool;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_proto::accounts::customer_service_server::{CustomerService, CustomerServiceServer};
use stowage_proto::accounts::{
    CreateCustomerRequest, Customer, GetCustomerRequest, ListCustomersRequest,
    ListCustomersResponse,
};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::parts::SELECT;

/// The two servers, on threads of their own as processes are. They end when this is dropped.
pub(crate) struct Hops {
    /// Where the first is.
    pub(crate) address: SocketAddr,
    runtimes: [Option<Runtime>; 2],
}

impl Hops {
    /// Starts them; the second reads from `pool`.
    pub(crate) fn start(pool: PgPool) -> std::io::Result<Self> {
        let (behind, second) = serve(CustomerServiceServer::new(Reader(pool)))?;
        let uri = Uri::try_from(format!("http://{behind}")).map_err(std::io::Error::other)?;
        let runtime = runtime()?;
        let channel = {
            let _entered = runtime.enter();
            Channel::builder(uri).tcp_nodelay(true).connect_lazy()
        };
        let relay = Relay(CustomerServiceClient::new(channel));
        let (address, first) = serve_on(runtime, CustomerServiceServer::new(relay))?;
        Ok(Self { address, runtimes: [Some(first), Some(second)] })
    }
}

impl Drop for Hops {
    fn drop(&mut self) {
        for runtime in &mut self.runtimes {
            if let Some(runtime) = runtime.take() {
                runtime.shutdown_background();
            }
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

fn serve<S: CustomerService>(
    service: CustomerServiceServer<S>,
) -> std::io::Result<(SocketAddr, Runtime)> {
    serve_on(runtime()?, service)
}

fn serve_on<S: CustomerService>(
    runtime: Runtime,
    service: CustomerServiceServer<S>,
) -> std::io::Result<(SocketAddr, Runtime)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let router = Routes::new(service).into_axum_router();
    runtime.spawn(async move {
        use axum::serve::ListenerExt as _;
        let listener = TcpListener::from_std(listener)?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await
    });
    Ok((address, runtime))
}

/// Asks the database, as the role does.
struct Reader(PgPool);

/// Asks the other server.
struct Relay(CustomerServiceClient<Channel>);

#[tonic::async_trait]
impl CustomerService for Reader {
    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        let name = request.into_inner().name;
        let id: i64 = name.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or_default();
        let row: (i64, String, String) = sqlx::query_as(SELECT)
            .bind(id)
            .fetch_one(&self.0)
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let (customer_id, email, currency) = row;
        Ok(Response::new(Customer { name, customer_id, email, currency, create_time: None }))
    }

    async fn create_customer(
        &self,
        _request: Request<CreateCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        Err(Status::unimplemented("only reads"))
    }

    async fn list_customers(
        &self,
        _request: Request<ListCustomersRequest>,
    ) -> Result<Response<ListCustomersResponse>, Status> {
        Err(Status::unimplemented("only reads"))
    }
}

#[tonic::async_trait]
impl CustomerService for Relay {
    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        self.0.clone().get_customer(request).await
    }

    async fn create_customer(
        &self,
        request: Request<CreateCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        self.0.clone().create_customer(request).await
    }

    async fn list_customers(
        &self,
        request: Request<ListCustomersRequest>,
    ) -> Result<Response<ListCustomersResponse>, Status> {
        self.0.clone().list_customers(request).await
    }
}
