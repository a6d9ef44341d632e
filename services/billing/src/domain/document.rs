//! An invoice as a page that can be printed: one file, without scripts or anything from elsewhere.

use std::fmt::Write as _;

use stowage_auth::RequestContext;
use stowage_provider::InvoiceState;
use stowage_types::Money;
use time::OffsetDateTime;

use super::Billing;
use super::charge::Line;
use super::invoice::ShownInvoice;
use crate::error::Error;
use crate::rating::Charge;

/// What the page looks like, on a screen and on paper.
const STYLE: &str = "body{font:14px/1.5 sans-serif;color:#222;max-width:52em;margin:2em auto;\
    padding:0 1em}h1{font-size:1.6em}pre{font:inherit;white-space:pre-wrap}\
    table{border-collapse:collapse;width:100%}th,td{padding:.4em .5em;text-align:left;\
    vertical-align:top;border-bottom:1px solid #ccc}td.n,th.n{text-align:right;\
    white-space:nowrap;font-variant-numeric:tabular-nums}small{color:#666}\
    @media print{body{margin:0;max-width:none}}";

impl Billing {
    /// The page of an invoice that the caller sees.
    pub(crate) async fn invoice_document(
        &self,
        cx: &RequestContext,
        id: i64,
    ) -> Result<String, Error> {
        let shown = self.get_invoice(cx, id).await?;
        Ok(page(&self.seller, &shown))
    }
}

/// The page. Every text that is not ours is escaped.
pub(crate) fn page(seller: &str, shown: &ShownInvoice) -> String {
    let invoice = &shown.invoice;
    let currency = invoice.total.currency();
    let mut page = String::new();
    let title = format!("Invoice {}", invoice.id);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    if !seller.is_empty() {
        let _ = writeln!(page, "<pre>{}</pre>", escaped(seller));
    }
    let facts = [
        ("Customer", invoice.customer.to_string()),
        ("Account", shown.s3uid.clone()),
        ("State", state_text(invoice.state).to_owned()),
        ("Issued", day_or_none(invoice.issue_time)),
        ("Due", day_or_none(invoice.due_time)),
    ];
    page.push_str("<table>\n");
    for (name, value) in facts {
        let _ = writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escaped(&value));
    }
    page.push_str("</table>\n<table>\n<tr><th>For</th>");
    let _ = writeln!(page, "<th class=\"n\">{currency}</th></tr>");
    for line in &shown.lines {
        page.push_str(&row_of(line));
    }
    if shown.lines.is_empty() {
        let amount = invoice.total.to_minor_string();
        let title = escaped(&invoice.title);
        let _ = writeln!(page, "<tr><td>{title}</td><td class=\"n\">{amount}</td></tr>");
    }
    let sums = [("Total", invoice.total), ("Paid", invoice.paid), ("To pay", invoice.balance())];
    for (name, amount) in sums {
        let amount = amount.to_minor_string();
        let _ = writeln!(page, "<tr><th>{name}</th><th class=\"n\">{amount}</th></tr>");
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

fn row_of(Line { charge, tariff }: &Line) -> String {
    let amount = Money::from_nanos(charge.amount_nanos, tariff.currency).to_minor_string();
    let description = escaped(&charge.description(tariff));
    let rounding = Charge::rounding(tariff.currency);
    let bytes = match charge.kind.is_base() {
        true => String::new(),
        false => format!("{} bytes, ", charge.quantity_bytes),
    };
    format!(
        "<tr><td>{description}<br><small>{bytes}plan {} version {}, rounded {rounding}</small>\
         </td><td class=\"n\">{amount}</td></tr>\n",
        charge.plan, charge.version
    )
}

fn state_text(state: InvoiceState) -> &'static str {
    match state {
        InvoiceState::Draft => "draft",
        InvoiceState::Open => "open",
        InvoiceState::Paid => "paid",
        InvoiceState::Void => "withdrawn",
    }
}

fn day_or_none(time: Option<OffsetDateTime>) -> String {
    time.map_or_else(|| "not yet".to_owned(), |time| time.date().to_string())
}

/// A text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
