//! What the double says of usage, where engines, metering and bills are compared.

use std::collections::BTreeMap;

use stowage_proto::{billing, metering, storage};
use tonic::{Request, Response, Status, async_trait};

use crate::double::{When, World, uid_of};

use metering::usage_service_server::UsageService;

const NOT_CALLED: &str = "accounts does not call this";

/// What each of the three says of an account. Of a window it is not asked which.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) engine: storage::EngineUsage,
    pub(crate) meter: metering::MeteredUsage,
    pub(crate) billed: Option<billing::BilledUsage>,
    /// What metering sums up of a billed part.
    pub(crate) part: metering::UsageSummary,
}

/// By s3uid.
pub(crate) type AllFigures = BTreeMap<String, Figures>;

impl World {
    pub(crate) fn engine_usage(
        &self,
        request: &storage::SumEngineUsageRequest,
    ) -> storage::SumEngineUsageResponse {
        let mut state = self.state();
        state.calls.push(if request.collect_first { "CollectFirst" } else { "SumEngineUsage" });
        let of = |window: &storage::EngineWindow| {
            let mut usage =
                state.figures.get(&uid_of(&window.name)).cloned().unwrap_or_default().engine;
            if !request.with_hours {
                usage.hours.clear();
            }
            usage
        };
        let usages = request.windows.iter().map(of).collect();
        storage::SumEngineUsageResponse { usages }
    }

    pub(crate) fn billed_usage(
        &self,
        request: &billing::ListBilledUsageRequest,
    ) -> billing::ListBilledUsageResponse {
        let state = self.state();
        let of = |uid: &String| state.figures.get(uid)?.billed.clone();
        billing::ListBilledUsageResponse { usages: request.s3uids.iter().filter_map(of).collect() }
    }
}

#[async_trait]
impl UsageService for World {
    async fn sum_metered_usage(
        &self,
        request: Request<metering::SumMeteredUsageRequest>,
    ) -> Result<Response<metering::SumMeteredUsageResponse>, Status> {
        self.check("SumMeteredUsage", When::Before)?;
        let state = self.state();
        let of = |window: &metering::AccountWindow| {
            state.figures.get(&window.s3uid).cloned().unwrap_or_default().meter
        };
        let usages = request.into_inner().windows.iter().map(of).collect();
        Ok(Response::new(metering::SumMeteredUsageResponse { usages }))
    }

    async fn summarize_usage(
        &self,
        request: Request<metering::SummarizeUsageRequest>,
    ) -> Result<Response<metering::SummarizeUsageResponse>, Status> {
        let state = self.state();
        let of = |window: &metering::AccountWindow| {
            state.figures.get(&window.s3uid).cloned().unwrap_or_default().part
        };
        let summaries = request.into_inner().windows.iter().map(of).collect();
        Ok(Response::new(metering::SummarizeUsageResponse { summaries, ..Default::default() }))
    }

    async fn get_account_usage(
        &self,
        _: Request<metering::GetAccountUsageRequest>,
    ) -> Result<Response<metering::AccountUsage>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn await_usage(
        &self,
        _: Request<metering::AwaitUsageRequest>,
    ) -> Result<Response<metering::AccountUsage>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    type WatchUsageStream =
        futures_util::stream::BoxStream<'static, Result<metering::AccountUsage, Status>>;

    async fn watch_usage(
        &self,
        _: Request<metering::WatchUsageRequest>,
    ) -> Result<Response<Self::WatchUsageStream>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn query_usage(
        &self,
        _: Request<metering::QueryUsageRequest>,
    ) -> Result<Response<metering::QueryUsageResponse>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn rank_accounts(
        &self,
        _: Request<metering::RankAccountsRequest>,
    ) -> Result<Response<metering::RankAccountsResponse>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }
}
