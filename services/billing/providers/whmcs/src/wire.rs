//! What the adapter reads of WHMCS: services, orders, clients, invoices, payments, credit.

use serde_json::Value;
use stowage_types::Currency;
use time::{Date, OffsetDateTime};

use crate::api::Api;
use crate::fault::Fault;
use crate::{domain, loose};

/// Rows of a page.
const PAGE: usize = 100;
/// Pages that are read of a list, at most.
const PAGES_MAX: usize = 1000;

/// Where a service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceState {
    /// Its order is not accepted.
    Pending,
    /// It runs, suspended or not.
    Running,
    /// It has ended, in whichever way.
    Ended,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) id: i64,
    pub(crate) client: i64,
    pub(crate) order: i64,
    pub(crate) domain: String,
    pub(crate) username: String,
    pub(crate) state: ServiceState,
    /// Of the first period, in nano-units.
    pub(crate) first_price: i128,
    /// Of any other one, in nano-units, where it is told.
    pub(crate) recurring: Option<i128>,
    /// 0: it is not told.
    pub(crate) product: i64,
    pub(crate) registered: Option<Date>,
}

/// A row of the list of all services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceRow {
    pub(crate) id: i64,
    /// Absent: it is none of ours.
    pub(crate) ours: Option<Service>,
}

/// Where an order is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderState {
    Pending,
    Active,
    /// Cancelled, or taken for a fraud.
    Gone,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) state: OrderState,
    /// 0: none.
    pub(crate) invoice: i64,
}

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: i64,
    pub(crate) email: String,
    pub(crate) is_closed: bool,
    pub(crate) currency: Currency,
    /// In nano-units.
    pub(crate) credit: i128,
}

/// Where an invoice is, in WHMCS' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvoiceStatus {
    Draft,
    /// `Unpaid`, `Payment Pending` and `Collections`.
    Owed,
    Paid,
    /// `Cancelled` and `Refunded`.
    Gone,
}

/// What a row of a list of invoices says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvoiceRow {
    pub(crate) id: i64,
    pub(crate) client: i64,
    pub(crate) status: InvoiceStatus,
    pub(crate) date: Option<Date>,
    pub(crate) due: Option<Date>,
    pub(crate) notes: String,
    pub(crate) currency: Option<Currency>,
    pub(crate) end_time: Option<OffsetDateTime>,
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: String,
    pub(crate) related: i64,
    pub(crate) description: String,
}

/// An invoice with its lines; amounts in nano-units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invoice {
    pub(crate) id: i64,
    pub(crate) client: i64,
    pub(crate) status: InvoiceStatus,
    pub(crate) date: Option<Date>,
    pub(crate) due: Option<Date>,
    pub(crate) paid_time: Option<OffsetDateTime>,
    pub(crate) end_time: Option<OffsetDateTime>,
    pub(crate) notes: String,
    /// Of its lines and taxes, before credit.
    pub(crate) total: i128,
    /// Credit that was applied.
    pub(crate) credit: i128,
    /// What is left.
    pub(crate) balance: i128,
    pub(crate) items: Vec<Item>,
}

/// Money that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) reference: String,
    pub(crate) client: i64,
    /// 0: none.
    pub(crate) invoice: i64,
    /// In less out, in nano-units.
    pub(crate) amount: i128,
}

/// An entry of a client's credit; the amount in nano-units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credit {
    pub(crate) id: i64,
    pub(crate) description: String,
    pub(crate) amount: i128,
}

/// Names what was not understood, and not what was there.
fn odd(what: &'static str) -> Fault {
    Fault::lost(format!("{what} is not understood"))
}

fn known<T>(value: Option<T>, what: &'static str) -> Result<T, Fault> {
    value.ok_or_else(|| odd(what))
}

impl Service {
    fn read(row: &Value) -> Result<Self, Fault> {
        let state = match loose::text(&row["status"]).as_str() {
            "Pending" => ServiceState::Pending,
            "Active" | "Suspended" | "Completed" => ServiceState::Running,
            "Terminated" | "Cancelled" | "Fraud" => ServiceState::Ended,
            _ => return Err(odd("the status of a service")),
        };
        let client = if row["clientid"].is_null() { &row["userid"] } else { &row["clientid"] };
        Ok(Self {
            id: known(loose::id(&row["id"]), "the id of a service")?,
            client: known(loose::id(client), "the client of a service")?,
            order: known(loose::number(&row["orderid"]), "the order of a service")?,
            domain: loose::text(&row["domain"]),
            username: loose::text(&row["username"]),
            state,
            first_price: known(loose::nanos(&row["firstpaymentamount"]), "a price")?,
            recurring: loose::nanos(&row["recurringamount"]),
            product: loose::number(&row["pid"]).unwrap_or(0),
            registered: loose::day(&row["regdate"]).flatten(),
        })
    }
}

impl ServiceRow {
    /// What others sell may be in any state: it is not looked at.
    fn read(row: &Value) -> Result<Self, Fault> {
        let is_ours = domain::names_one(&loose::text(&row["domain"]));
        let ours = is_ours.then(|| Service::read(row)).transpose()?;
        Ok(Self { id: known(loose::id(&row["id"]), "the id of a service")?, ours })
    }
}

impl Order {
    fn read(row: &Value) -> Result<Self, Fault> {
        let state = match loose::text(&row["status"]).as_str() {
            "Pending" => OrderState::Pending,
            "Active" => OrderState::Active,
            "Cancelled" | "Fraud" => OrderState::Gone,
            _ => return Err(odd("the status of an order")),
        };
        let id = known(loose::id(&row["id"]), "the id of an order")?;
        let invoice = known(loose::number(&row["invoiceid"]), "the invoice of an order")?;
        Ok(Self { id, state, invoice })
    }
}

impl InvoiceStatus {
    fn read(value: &Value) -> Result<Self, Fault> {
        match loose::text(value).as_str() {
            "Draft" => Ok(Self::Draft),
            "Unpaid" | "Payment Pending" | "Collections" | "Overdue" => Ok(Self::Owed),
            "Paid" => Ok(Self::Paid),
            "Cancelled" | "Refunded" => Ok(Self::Gone),
            _ => Err(odd("the status of an invoice")),
        }
    }
}

/// When an invoice was cancelled or refunded, where that is told.
fn end_time(row: &Value) -> Option<OffsetDateTime> {
    let times = [&row["date_cancelled"], &row["date_refunded"]];
    times.into_iter().find_map(|time| loose::moment(time).flatten())
}

impl InvoiceRow {
    fn read(row: &Value) -> Result<Self, Fault> {
        Ok(Self {
            id: known(loose::id(&row["id"]), "the id of an invoice")?,
            client: known(loose::id(&row["userid"]), "the client of an invoice")?,
            status: InvoiceStatus::read(&row["status"])?,
            date: loose::day(&row["date"]).flatten(),
            due: known(loose::day(&row["duedate"]), "the date of an invoice")?,
            notes: loose::text(&row["notes"]),
            currency: Currency::parse(&loose::text(&row["currencycode"])).ok(),
            end_time: end_time(row),
        })
    }
}

impl Invoice {
    fn read(answer: &Value) -> Result<Self, Fault> {
        let amount = |name: &str| known(loose::nanos(&answer[name]), "an amount of an invoice");
        let items = known(loose::rows(&answer["items"], "item"), "the lines of an invoice")?;
        let item = |row: &&Value| {
            let related = known(loose::number(&row["relid"]), "a line of an invoice")?;
            let (kind, description) = (loose::text(&row["type"]), loose::text(&row["description"]));
            Ok::<_, Fault>(Item { kind, related, description })
        };
        let (credit, reduced) = (amount("credit")?, amount("total")?);
        Ok(Self {
            id: known(loose::id(&answer["invoiceid"]), "the id of an invoice")?,
            client: known(loose::id(&answer["userid"]), "the client of an invoice")?,
            status: InvoiceStatus::read(&answer["status"])?,
            date: known(loose::day(&answer["date"]), "the date of an invoice")?,
            due: known(loose::day(&answer["duedate"]), "the date of an invoice")?,
            paid_time: known(loose::moment(&answer["datepaid"]), "the date of an invoice")?,
            end_time: end_time(answer),
            notes: loose::text(&answer["notes"]),
            // WHMCS' own total is what is left after credit.
            total: reduced + credit,
            credit,
            balance: amount("balance")?,
            items: items.iter().map(item).collect::<Result<_, _>>()?,
        })
    }
}

impl Transaction {
    fn read(row: &Value) -> Result<Self, Fault> {
        let amount = |name: &str| known(loose::nanos(&row[name]), "the amount of a payment");
        Ok(Self {
            reference: loose::text(&row["transid"]),
            client: known(loose::number(&row["userid"]), "the client of a payment")?,
            invoice: known(loose::number(&row["invoiceid"]), "the invoice of a payment")?,
            amount: amount("amountin")? - amount("amountout")?,
        })
    }
}

impl Credit {
    fn read(row: &Value) -> Result<Self, Fault> {
        Ok(Self {
            id: known(loose::id(&row["id"]), "the id of a credit")?,
            description: loose::text(&row["description"]),
            amount: known(loose::nanos(&row["amount"]), "the amount of a credit")?,
        })
    }
}

/// A page of a list, and how many rows there are in all.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) total: usize,
}

/// A list: the action that answers it, how it is wrapped, and how a row of it is read.
struct List<T> {
    action: &'static str,
    names: (&'static str, &'static str),
    read: fn(&Value) -> Result<T, Fault>,
}

const SERVICES: List<Service> =
    List { action: "GetClientsProducts", names: ("products", "product"), read: Service::read };
const ALL_SERVICES: List<ServiceRow> =
    List { action: "GetClientsProducts", names: ("products", "product"), read: ServiceRow::read };
const ORDERS: List<Order> =
    List { action: "GetOrders", names: ("orders", "order"), read: Order::read };
const INVOICES: List<InvoiceRow> =
    List { action: "GetInvoices", names: ("invoices", "invoice"), read: InvoiceRow::read };

impl Api {
    /// Reads a page from a row on.
    async fn page<T>(
        &self,
        list: &List<T>,
        filter: &[(&str, &str)],
        (start, length): (usize, usize),
    ) -> Result<Page<T>, Fault> {
        let (start, length) = (start.to_string(), length.to_string());
        let what = [filter, &[("limitstart", &start), ("limitnum", &length)]].concat();
        let answer = self.read(list.action, &what).await?;
        let (outer, inner) = list.names;
        let rows = known(loose::rows(&answer[outer], inner), "a list")?;
        let total = known(loose::number(&answer["totalresults"]), "the length of a list")?;
        let rows = rows.into_iter().map(list.read).collect::<Result<_, _>>()?;
        Ok(Page { rows, total: usize::try_from(total).unwrap_or(0) })
    }

    /// Reads a list to its end.
    async fn all<T>(&self, list: &List<T>, filter: &[(&str, &str)]) -> Result<Vec<T>, Fault> {
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.page(list, filter, (all.len(), PAGE)).await?;
            let (is_empty, total) = (page.rows.is_empty(), page.total);
            all.extend(page.rows);
            if is_empty || all.len() >= total {
                return Ok(all);
            }
        }
        Err(odd("a list without an end"))
    }

    /// The services of a client with this domain, in the order of their ids.
    pub(crate) async fn services(&self, client: i64, domain: &str) -> Result<Vec<Service>, Fault> {
        let id = client.to_string();
        let filter = [("clientid", id.as_str()), ("domain", domain)];
        let mut all = self.all(&SERVICES, &filter).await?;
        // Whatever a version makes of the filter.
        all.retain(|own| own.client == client && own.domain.eq_ignore_ascii_case(domain));
        all.sort_unstable_by_key(|own| own.id);
        Ok(all)
    }

    pub(crate) async fn service(&self, id: i64) -> Result<Option<Service>, Fault> {
        let text = id.to_string();
        let filter = [("serviceid", text.as_str())];
        let page = self.page(&SERVICES, &filter, (0, PAGE));
        Ok(page.await?.rows.into_iter().find(|own| own.id == id))
    }

    /// A page of all services there are.
    pub(crate) async fn service_rows(
        &self,
        start: usize,
        length: usize,
    ) -> Result<Page<ServiceRow>, Fault> {
        self.page(&ALL_SERVICES, &[], (start, length)).await
    }

    pub(crate) async fn order(&self, id: i64) -> Result<Option<Order>, Fault> {
        let text = id.to_string();
        let filter = [("id", text.as_str())];
        let page = self.page(&ORDERS, &filter, (0, PAGE));
        Ok(page.await?.rows.into_iter().find(|own| own.id == id))
    }

    /// Orders that nobody has accepted yet.
    pub(crate) async fn pending_orders(&self, client: Option<i64>) -> Result<Vec<Order>, Fault> {
        let id = client.map(|id| id.to_string());
        let mut filter = vec![("status", "Pending")];
        filter.extend(id.as_deref().map(|id| ("userid", id)));
        self.all(&ORDERS, &filter).await
    }

    /// A client by `clientid` or `email`; `None`: there is none.
    pub(crate) async fn client(&self, by: (&str, &str)) -> Result<Option<Client>, Fault> {
        let answer = match self.read("GetClientsDetails", &[by]).await {
            Err(fault) if fault.is_absent() => return Ok(None),
            answer => answer?,
        };
        // The copies at the top are deprecated.
        let row = if answer["client"].is_object() { &answer["client"] } else { &answer };
        let currency = Currency::parse(&loose::text(&row["currency_code"])).ok();
        Ok(Some(Client {
            id: known(loose::id(&row["id"]), "the id of a client")?,
            email: loose::text(&row["email"]),
            is_closed: loose::text(&row["status"]) == "Closed",
            currency: known(currency, "the currency of a client")?,
            credit: known(loose::nanos(&row["credit"]), "the credit of a client")?,
        }))
    }

    pub(crate) async fn invoice(&self, id: i64) -> Result<Option<Invoice>, Fault> {
        match self.read("GetInvoice", &[("invoiceid", &id.to_string())]).await {
            Err(fault) if fault.is_absent() => Ok(None),
            answer => Invoice::read(&answer?).map(Some),
        }
    }

    /// A page of invoices.
    pub(crate) async fn invoices(
        &self,
        filter: &[(&str, &str)],
        start: usize,
        length: usize,
    ) -> Result<Page<InvoiceRow>, Fault> {
        self.page(&INVOICES, filter, (start, length)).await
    }

    /// Payments of this reference.
    pub(crate) async fn transactions(&self, reference: &str) -> Result<Vec<Transaction>, Fault> {
        self.transactions_by(("transid", reference)).await.map(|mut all| {
            all.retain(|own| own.reference == reference);
            all
        })
    }

    /// What came in for an invoice.
    pub(crate) async fn paid(&self, invoice: i64) -> Result<i128, Fault> {
        let all = self.transactions_by(("invoiceid", &invoice.to_string())).await?;
        Ok(all.iter().filter(|own| own.invoice == invoice).map(|own| own.amount).sum())
    }

    async fn transactions_by(&self, by: (&str, &str)) -> Result<Vec<Transaction>, Fault> {
        let answer = self.read("GetTransactions", &[by]).await?;
        let rows = loose::rows(&answer["transactions"], "transaction");
        known(rows, "a list")?.into_iter().map(Transaction::read).collect()
    }

    /// All entries of a client's credit.
    pub(crate) async fn credits(&self, client: i64) -> Result<Vec<Credit>, Fault> {
        let answer = self.read("GetCredits", &[("clientid", &client.to_string())]).await?;
        let rows = known(loose::rows(&answer["credits"], "credit"), "a list")?;
        rows.into_iter().map(Credit::read).collect()
    }
}
