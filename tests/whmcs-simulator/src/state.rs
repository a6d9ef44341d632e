//! What an installation holds.

use std::collections::{BTreeMap, HashMap};

use time::{Date, OffsetDateTime};

use crate::cents::Cents;

/// A currency.
#[derive(Debug, Clone)]
pub struct Currency {
    /// Its id.
    pub id: i64,
    /// `EUR`
    pub code: String,
    /// Before an amount: `€`.
    pub prefix: String,
    /// Behind it: ` EUR`.
    pub suffix: String,
    /// To the default currency, as a text.
    pub rate: String,
}

/// Somebody who is billed.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its id.
    pub id: i64,
    /// Unique among clients.
    pub email: String,
    /// Given and family name.
    pub name: (String, String),
    /// `Active`, `Inactive` or `Closed`.
    pub status: String,
    /// Id of the currency.
    pub currency: i64,
    /// Whether a card is stored that can be charged.
    pub has_card: bool,
    /// Since when.
    pub created: Option<Date>,
    /// By field id.
    pub custom_fields: BTreeMap<String, String>,
}

/// Something that is sold.
#[derive(Debug, Clone)]
pub struct Product {
    /// Its id.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// System name of its server module.
    pub module: Option<String>,
    /// Whether it costs nothing.
    pub is_free: bool,
    /// Price by currency and cycle; what is not there is not offered.
    pub prices: BTreeMap<(i64, String), Cents>,
}

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its id.
    pub id: i64,
    /// The client.
    pub client: i64,
    /// When.
    pub time: OffsetDateTime,
    /// What is due at once.
    pub amount: Cents,
    /// System name of the payment method.
    pub method: String,
    /// Its invoice; 0: none.
    pub invoice: i64,
    /// `Pending`, `Active`, `Cancelled` or `Fraud`.
    pub status: String,
    /// Services ordered with it.
    pub services: Vec<i64>,
}

/// Something a client has.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its id.
    pub id: i64,
    /// The client.
    pub client: i64,
    /// Ordered with.
    pub order: i64,
    /// The product.
    pub product: i64,
    /// Since when.
    pub registered: Date,
    /// As it was ordered.
    pub domain: String,
    /// `Pending`, `Active`, `Suspended`, `Terminated`, `Cancelled`, `Fraud` or `Completed`.
    pub status: String,
    /// `monthly`, … or `free`.
    pub cycle: String,
    /// What the first period costs.
    pub first: Cents,
    /// What any other costs.
    pub recurring: Cents,
    /// When the next period is paid.
    pub next_due: Option<Date>,
    /// When automation ends it.
    pub terminates: Option<Date>,
    /// System name of the payment method.
    pub method: String,
    /// Its user at the server.
    pub username: String,
    /// His password, in the clear.
    pub password: String,
    /// For administrators.
    pub notes: String,
    /// Why it is suspended.
    pub suspend_reason: String,
    /// Disk use and limit, traffic use and limit, in megabytes.
    pub figures: [i64; 4],
    /// By field id.
    pub custom_fields: BTreeMap<String, String>,
    /// By option id.
    pub options: BTreeMap<String, String>,
}

/// A line of an invoice.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its id.
    pub id: i64,
    /// `Hosting` for a service, else empty.
    pub kind: String,
    /// The service; 0: none.
    pub related: i64,
    /// What is printed.
    pub description: String,
    /// What it costs.
    pub amount: Cents,
    /// Whether tax comes on top.
    pub is_taxed: bool,
}

/// An invoice.
#[derive(Debug, Clone)]
pub struct Invoice {
    /// Its id.
    pub id: i64,
    /// Who owes it.
    pub client: i64,
    /// Its day.
    pub date: Date,
    /// When it is due.
    pub due: Date,
    /// When it was paid.
    pub paid: Option<OffsetDateTime>,
    /// When it was cancelled.
    pub cancelled: Option<OffsetDateTime>,
    /// `Draft`, `Unpaid`, `Paid`, `Cancelled`, `Refunded`, `Collections` or `Payment Pending`.
    pub status: String,
    /// Credit that was applied.
    pub credit: Cents,
    /// System name of the payment method.
    pub method: String,
    /// Printed below.
    pub notes: String,
    /// Its lines.
    pub items: Vec<Item>,
}

impl Invoice {
    /// The sum of its lines.
    #[must_use]
    pub fn subtotal(&self) -> Cents {
        self.items.iter().map(|item| item.amount).sum()
    }

    /// What is to be paid by other means than credit.
    #[must_use]
    pub fn total(&self) -> Cents {
        self.subtotal() - self.credit
    }
}

/// Money that came in.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its id.
    pub id: i64,
    /// From whom.
    pub client: i64,
    /// For which invoice.
    pub invoice: i64,
    /// By which payment method.
    pub gateway: String,
    /// When.
    pub time: OffsetDateTime,
    /// What the gateway calls it. Unique.
    pub reference: String,
    /// How much.
    pub amount: Cents,
    /// What the gateway kept.
    pub fees: Cents,
}

/// An entry of a client's credit.
#[derive(Debug, Clone)]
pub struct Credit {
    /// Its id.
    pub id: i64,
    /// Whose.
    pub client: i64,
    /// When.
    pub date: Date,
    /// What for.
    pub description: String,
    /// Signed.
    pub amount: Cents,
    /// The invoice it went to; 0: none.
    pub related: i64,
}

/// A request to cancel, which nothing takes back.
#[derive(Debug, Clone)]
pub struct CancelRequest {
    /// Its id.
    pub id: i64,
    /// The service.
    pub service: i64,
    /// When.
    pub time: OffsetDateTime,
    /// Why.
    pub reason: String,
    /// `Immediate` or `End of Billing Period`.
    pub kind: String,
}

/// Something to be invoiced later, which nothing lists.
#[derive(Debug, Clone)]
pub struct BillableItem {
    /// Its id.
    pub id: i64,
    /// Who owes it.
    pub client: i64,
    /// What is printed.
    pub description: String,
    /// In all.
    pub amount: Cents,
    /// `noinvoice`, `nextcron`, `nextinvoice`, `duedate` or `recur`.
    pub action: String,
    /// The invoice it is on; 0: none yet.
    pub invoice: i64,
}

/// All of it.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each is a list of what its name says")]
pub struct State {
    pub currencies: BTreeMap<i64, Currency>,
    pub clients: BTreeMap<i64, Client>,
    pub products: BTreeMap<i64, Product>,
    pub orders: BTreeMap<i64, Order>,
    pub services: BTreeMap<i64, Service>,
    pub invoices: BTreeMap<i64, Invoice>,
    pub transactions: Vec<Transaction>,
    pub credits: Vec<Credit>,
    pub cancel_requests: Vec<CancelRequest>,
    pub billable_items: Vec<BillableItem>,
    pub module_failures: Vec<(i64, String)>,
    /// Services by their domain, so that many are found as fast as few.
    pub(crate) by_domain: HashMap<String, Vec<i64>>,
    ids: BTreeMap<&'static str, i64>,
}

impl State {
    /// The next id of a table.
    pub(crate) fn next_id(&mut self, table: &'static str) -> i64 {
        let id = self.ids.entry(table).or_default();
        *id += 1;
        *id
    }

    /// Adds a currency; the first is the default one.
    pub fn add_currency(&mut self, code: &str) -> i64 {
        let id = self.next_id("currency");
        let (code, suffix, rate) = (code.to_owned(), format!(" {code}"), "1.00000".to_owned());
        self.currencies.insert(id, Currency { id, code, prefix: String::new(), suffix, rate });
        id
    }

    /// Adds a client who pays in a currency.
    pub fn add_client(&mut self, email: &str, currency: i64) -> i64 {
        let id = self.next_id("client");
        let client = Client {
            id,
            email: email.to_owned(),
            name: ("Test".to_owned(), "Client".to_owned()),
            status: "Active".to_owned(),
            currency,
            has_card: false,
            created: None,
            custom_fields: BTreeMap::new(),
        };
        self.clients.insert(id, client);
        id
    }

    /// Adds a product without a module, priced by currency and cycle; without prices it is free.
    pub fn add_product(&mut self, name: &str, prices: &[(i64, &str, Cents)]) -> i64 {
        let id = self.next_id("product");
        let of = |(currency, cycle, price): &(i64, &str, Cents)| {
            ((*currency, (*cycle).to_owned()), *price)
        };
        let product = Product {
            id,
            name: name.to_owned(),
            module: None,
            is_free: prices.is_empty(),
            prices: prices.iter().map(of).collect(),
        };
        self.products.insert(id, product);
        id
    }

    /// What a client has to his credit.
    #[must_use]
    pub fn credit_of(&self, client: i64) -> Cents {
        let own = self.credits.iter().filter(|credit| credit.client == client);
        own.map(|credit| credit.amount).sum()
    }

    /// What came in for an invoice.
    #[must_use]
    pub fn paid_of(&self, invoice: i64) -> Cents {
        let own = self.transactions.iter().filter(|own| own.invoice == invoice);
        own.map(|transaction| transaction.amount).sum()
    }

    /// What is left to pay of an invoice.
    #[must_use]
    pub fn balance_of(&self, invoice: &Invoice) -> Cents {
        invoice.total() - self.paid_of(invoice.id)
    }

    /// Services of a domain, in the order of their ids.
    #[must_use]
    pub fn services_of(&self, domain: &str) -> Vec<&Service> {
        let ids = self.by_domain.get(&domain.to_lowercase());
        ids.into_iter().flatten().filter_map(|id| self.services.get(id)).collect()
    }

    /// Stores a service, and finds it by its domain from now on.
    pub(crate) fn put_service(&mut self, service: Service) {
        if let Some(old) = self.services.get(&service.id) {
            let (domain, id) = (old.domain.to_lowercase(), old.id);
            if let Some(ids) = self.by_domain.get_mut(&domain) {
                ids.retain(|own| *own != id);
            }
        }
        let ids = self.by_domain.entry(service.domain.to_lowercase()).or_default();
        ids.push(service.id);
        ids.sort_unstable();
        self.services.insert(service.id, service);
    }

    /// Marks an invoice as paid if nothing is left of it.
    pub(crate) fn settle(&mut self, id: i64, now: OffsetDateTime) {
        let Some(invoice) = self.invoices.get(&id) else { return };
        let is_open = invoice.status == "Unpaid" || invoice.status == "Payment Pending";
        if !is_open || self.balance_of(invoice) > Cents::ZERO {
            return;
        }
        if let Some(invoice) = self.invoices.get_mut(&id) {
            invoice.status = "Paid".to_owned();
            invoice.paid = Some(now);
        }
    }
}
