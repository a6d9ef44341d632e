//! `stowage admin plan …`.

mod change;
mod row;

use clap::{Args, Subcommand};
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::{
    ArchivePlanRequest, CreatePlanRequest, GetPlanRequest, ListPlansRequest, Plan,
    UpdatePlanRequest,
};
use stowage_types::{PlanId, name};
use tonic::{Code, Response};

use super::client::{Flags, pages};
use super::output;
use super::{Error, Limit, Session};
use change::Change;
use row::{Detail, PlanRow};

const FLAGS: Flags = &[
    ("name", "PLAN_ID"),
    ("plan.name", "PLAN_ID"),
    ("plan.title", "--title"),
    ("plan.storage_type", "--storage-type"),
    ("plan.location", "--location"),
    ("plan.base_price", "--base-price"),
    ("plan.prices", "--price"),
    ("plan.prices.storage_overage_price", "--storage-overage"),
    ("plan.prices.traffic_overage_price", "--traffic-overage"),
    ("plan.quota_bytes", "--quota"),
    ("plan.bucket_max", "--bucket-max"),
    ("plan.gb_bytes", "--gb"),
    ("plan.included_storage_gb", "--included-storage-gb"),
    ("plan.included_traffic_gb", "--included-traffic-gb"),
    ("plan.storage_mode", "--storage-mode"),
    ("plan.period", "--period"),
    ("plan.effective_time", "--effective"),
    ("plan.free", "--free"),
    ("plan.free_parts", "--free-part"),
    ("plan.key_max", "--key-max"),
    ("plan.storage_cap_gb", "--storage-cap-gb"),
    ("plan.traffic_cap_gb", "--traffic-cap-gb"),
    ("plan.account_max_per_customer", "--account-max"),
    ("location", "--location"),
    ("update_mask", "the flags"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a plan
    ///
    /// Example: stowage admin plan create --title Standard --price EUR=9.80
    /// --storage-overage EUR=0.05 --traffic-overage EUR=0.01 --quota 1TiB
    Create(Change),
    /// List plans by id, archived ones too
    List(List),
    /// Show a plan
    Show {
        /// Its id
        plan_id: PlanId,
    },
    /// Change a plan for later orders; what was sold before stays as it was
    Update {
        /// Its id
        plan_id: PlanId,
        #[command(flatten)]
        change: Change,
    },
    /// Stop selling a plan; what was sold goes on
    Archive {
        /// Its id
        plan_id: PlanId,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only plans offered there
    #[arg(long, value_name = "CODE")]
    location: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let client = &session.client;
    let answer = match command {
        Command::List(args) => return list(args, session).await,
        Command::Create(change) => {
            let plan = change.new_plan()?;
            let create = async |api, request_id| {
                let request = CreatePlanRequest { plan: Some(plan.clone()), request_id };
                PlanServiceClient::new(api).create_plan(request).await
            };
            client.change(create).await
        }
        Command::Show { plan_id } => {
            let request = GetPlanRequest { name: name::plan(plan_id), version: 0 };
            let answer = PlanServiceClient::new(client.api()).get_plan(request).await;
            answer.map(Response::into_inner)
        }
        Command::Update { plan_id, change } => {
            let new = updated(plan_id, &change, session).await?;
            let update = async |api, request_id| {
                let request = UpdatePlanRequest { request_id, ..new.clone() };
                PlanServiceClient::new(api).update_plan(request).await
            };
            client.change(update).await
        }
        Command::Archive { plan_id } => {
            let archive = async |api, request_id| {
                let request = ArchivePlanRequest { name: name::plan(plan_id), request_id };
                PlanServiceClient::new(api).archive_plan(request).await
            };
            client.change(archive).await
        }
    };
    let plan = answer.map_err(|status| client.explain(&status, FLAGS))?;
    output::one(session.output, &Detail(plan.into()))
}

/// Reads the plan and lays the change over it. The version read goes along, so that a change by
/// another in between is noticed and not lost.
async fn updated(
    plan_id: PlanId,
    change: &Change,
    session: &Session,
) -> Result<UpdatePlanRequest, Error> {
    if change.is_empty() {
        return Err(Error::Usage("name at least one thing to change, such as --title".to_owned()));
    }
    let mut plan = latest(plan_id, session).await?;
    let paths = change.apply(&mut plan)?;
    let update_mask = Some(prost_types::FieldMask { paths });
    Ok(UpdatePlanRequest { plan: Some(plan), update_mask, ..Default::default() })
}

/// The version that was made last: the one that is sold may not be it.
async fn latest(plan_id: PlanId, session: &Session) -> Result<Plan, Error> {
    let mut plans = PlanServiceClient::new(session.client.api());
    let name = name::plan(plan_id);
    let request = GetPlanRequest { name: name.clone(), version: 0 };
    let answer = plans.get_plan(request).await;
    let mut plan = answer.map_err(|status| session.client.explain(&status, FLAGS))?.into_inner();
    loop {
        let request = GetPlanRequest { name: name.clone(), version: plan.version + 1 };
        match plans.get_plan(request).await {
            Ok(later) => plan = later.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(plan),
            Err(status) => return Err(session.client.explain(&status, FLAGS)),
        }
    }
}

async fn list(args: List, session: &Session) -> Result<(), Error> {
    let plans = PlanServiceClient::new(session.client.api());
    let location = args.location.as_deref().map(name::location).unwrap_or_default();
    let found = pages(args.limit, async |page_size, page_token| {
        let location = location.clone();
        let request = ListPlansRequest { page_size, page_token, location };
        let page = plans.clone().list_plans(request).await?.into_inner();
        Ok((page.plans, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<PlanRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
