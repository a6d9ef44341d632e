//! The suite that every provider passes, bare and on a line that loses answers.

use async_trait::async_trait;
use stowage_provider::signed::{Disbelief, SignedMessage};
use stowage_provider::{
    BooksPart, ById, Client, CreditNote, Error, Hint, Invoice, InvoiceListing, KeyedInvoice,
    NewCredit, NewInvoice, NewOrder, OrderRef, OverdueListing, Part, Payment, PaymentTerms,
    PlacedOrder, Provider, Service, Standing, conformance,
};
use stowage_provider_whmcs::{Ending, Whmcs};
use stowage_types::{CustomerId, Money, PlanId};
use stowage_whmcs_simulator::{Chances, Settings};
use time::OffsetDateTime;

use crate::kit::{Kit, until_clear};

/// Repeats what has no clear answer.
#[derive(Debug)]
struct Repeating(Whmcs);

#[async_trait]
impl Provider for Repeating {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn renews(&self) -> bool {
        self.0.renews()
    }

    async fn check_order(
        &self,
        installation: &str,
        customer: CustomerId,
        price: Money,
    ) -> Result<(), Error> {
        until_clear(|| self.0.check_order(installation, customer, price)).await
    }

    async fn issue_invoices(&self, invoices: &[NewInvoice]) -> Result<Vec<i64>, Error> {
        until_clear(|| self.0.issue_invoices(invoices)).await
    }

    async fn grant_credits(&self, credits: &[NewCredit]) -> Result<(), Error> {
        until_clear(|| self.0.grant_credits(credits)).await
    }

    async fn record_credit(&self, credit: &NewCredit) -> Result<(), Error> {
        until_clear(|| self.0.record_credit(credit)).await
    }

    async fn issue_credit_note(&self, note: &CreditNote) -> Result<Invoice, Error> {
        until_clear(|| self.0.issue_credit_note(note)).await
    }

    async fn find_standing(&self, customer: CustomerId) -> Result<Standing, Error> {
        until_clear(|| self.0.find_standing(customer)).await
    }

    async fn set_payment_terms(
        &self,
        customer: CustomerId,
        terms: Option<PaymentTerms>,
    ) -> Result<(), Error> {
        until_clear(|| self.0.set_payment_terms(customer, terms)).await
    }

    async fn place_order(&self, order: &NewOrder) -> Result<PlacedOrder, Error> {
        until_clear(|| self.0.place_order(order)).await
    }

    async fn activate(&self, order: &OrderRef) -> Result<(), Error> {
        until_clear(|| self.0.activate(order)).await
    }

    async fn undo_order(&self, order: &OrderRef) -> Result<(), Error> {
        until_clear(|| self.0.undo_order(order)).await
    }

    async fn terminate(&self, order: &OrderRef) -> Result<(), Error> {
        until_clear(|| self.0.terminate(order)).await
    }

    async fn mirror_plan(
        &self,
        order: &OrderRef,
        plan: PlanId,
        period_price: Money,
    ) -> Result<(), Error> {
        until_clear(|| self.0.mirror_plan(order, plan, period_price)).await
    }

    async fn mirror_end(&self, order: &OrderRef, end: Option<OffsetDateTime>) -> Result<(), Error> {
        until_clear(|| self.0.mirror_end(order, end)).await
    }

    async fn find_invoices(&self, ids: &[i64]) -> Result<Vec<Invoice>, Error> {
        until_clear(|| self.0.find_invoices(ids)).await
    }

    async fn list_invoices(&self, listing: InvoiceListing) -> Result<Vec<Invoice>, Error> {
        until_clear(|| self.0.list_invoices(listing)).await
    }

    async fn list_overdue(&self, listing: OverdueListing) -> Result<Vec<Invoice>, Error> {
        until_clear(|| self.0.list_overdue(listing)).await
    }

    async fn record_payment(&self, payment: &Payment) -> Result<Invoice, Error> {
        until_clear(|| self.0.record_payment(payment)).await
    }

    fn installations(&self) -> Vec<String> {
        self.0.installations()
    }

    fn read_message(
        &self,
        installation: &str,
        message: SignedMessage<'_>,
    ) -> Result<Hint, Disbelief> {
        self.0.read_message(installation, message)
    }

    async fn find_service(&self, order: &OrderRef) -> Result<Option<Service>, Error> {
        until_clear(|| self.0.find_service(order)).await
    }

    async fn list_services(&self, installation: &str, by: ById) -> Result<Part<Service>, Error> {
        until_clear(|| self.0.list_services(installation, by)).await
    }

    async fn list_keyed_invoices(
        &self,
        installation: &str,
        by: ById,
    ) -> Result<Part<KeyedInvoice>, Error> {
        until_clear(|| self.0.list_keyed_invoices(installation, by)).await
    }

    async fn find_client(
        &self,
        installation: &str,
        client_id: i64,
    ) -> Result<Option<Client>, Error> {
        until_clear(|| self.0.find_client(installation, client_id)).await
    }

    async fn check_books(&self, installation: &str, from: &str) -> Result<BooksPart, Error> {
        until_clear(|| self.0.check_books(installation, from)).await
    }
}

#[tokio::test]
async fn whmcs_passes_the_suite() {
    conformance::run(&Kit::start().await.provider).await;
}

#[tokio::test]
async fn whmcs_passes_the_suite_however_an_installation_is_set_up() {
    for ending in [Ending::Status, Ending::ModuleTerminate] {
        for has_module in [false, true] {
            let settings = Settings {
                accept_activates: false,
                cancel_cancels_invoice: true,
                ..Settings::default()
            };
            let kit = Kit::start_with(settings, |options| {
                options.ending = ending;
                options.mirror_ends = true;
                options.autosetup = has_module;
            })
            .await;
            let module = has_module.then(|| "stowage".to_owned());
            kit.simulator.state().products.get_mut(&1).unwrap().module = module;
            conformance::run(&kit.provider).await;
        }
    }
}

#[tokio::test]
async fn whmcs_passes_the_suite_where_answers_are_lost() {
    let lossy = Chances { drop_answer: 300, ..Chances::default() };
    let wild = Chances { drop_answer: 150, drop_call: 50, twice: 150, bad_gateway: 50, garble: 50 };
    for (chances, seed) in [(lossy, 1), (lossy, 2), (lossy, 3), (wild, 4), (wild, 5), (wild, 6)] {
        let kit = Kit::start_with(Settings::default(), |options| options.mirror_ends = true).await;
        kit.simulator.set_chances(chances, seed);
        conformance::run(&Repeating(kit.provider)).await;
    }
}
