//! Credit: what a customer has paid in, or was given back, and has not used.

use stowage_types::{CustomerId, Money};

/// How a customer pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentTerms {
    /// In advance: an order needs credit.
    Prepaid,
    /// By invoice, until the day it is due.
    Invoiced,
}

/// A customer's credit in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// What he may use.
    pub usable: Money,
    /// What is kept for his orders that are not accepted yet.
    pub held: Money,
}

/// A customer's credit, and how he pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// How he pays.
    pub terms: PaymentTerms,
    /// Whether that was set for him, and is not the installation's way.
    pub has_own_terms: bool,
    /// One for each currency in which he ever had some, by currency.
    pub credits: Vec<Credit>,
}

/// Credit to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCredit {
    /// Its key, unique for ever: a repeat is one and the same credit.
    pub key: String,
    /// Who gets it.
    pub customer: CustomerId,
    /// At which of the provider's installations; empty: at its only or first one.
    pub installation: String,
    /// How much, above zero.
    pub amount: Money,
    /// What it is for.
    pub text: String,
    /// Who gives it.
    pub actor: String,
}

/// A part of an invoice to take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditNote {
    /// Its key, unique for ever: a repeat is one and the same note.
    pub key: String,
    /// The invoice.
    pub invoice_id: i64,
    /// How much, above zero; absent: all of it that was not taken back before.
    pub amount: Option<Money>,
    /// Why.
    pub text: String,
    /// Who takes it back.
    pub actor: String,
}
