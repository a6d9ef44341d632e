-- Invoices of the ledger come to life: issued, paid, and booked twice over. What was drafted before
-- this stays a draft: its order was accepted when nothing was collected from it.
ALTER TABLE ledger_invoice RENAME TO ledger_invoice_old;
DROP INDEX ledger_invoice_order;
CREATE TABLE ledger_invoice (
    invoice_id bigint PRIMARY KEY,
    order_key text NOT NULL REFERENCES ledger_order (order_key),
    customer_id bigint NOT NULL,
    title text NOT NULL,
    currency text NOT NULL,
    amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
    paid_nanos bigint NOT NULL CHECK (paid_nanos BETWEEN 0 AND amount_nanos),
    state text NOT NULL CHECK (state IN ('draft', 'open', 'paid', 'void')),
    create_time timestamptz NOT NULL,
    issue_time timestamptz,
    due_time timestamptz,
    settle_time timestamptz,
    CHECK (state IN ('draft', 'void') OR (issue_time IS NOT NULL AND due_time IS NOT NULL)),
    CHECK (state <> 'paid' OR paid_nanos = amount_nanos)
);
INSERT INTO ledger_invoice (invoice_id, order_key, customer_id, title, currency, amount_nanos,
        paid_nanos, state, create_time)
    SELECT i.invoice_id, i.order_key, o.customer_id, i.title, i.currency, i.amount_nanos, 0,
        i.state, i.create_time
    FROM ledger_invoice_old i JOIN ledger_order o ON o.order_key = i.order_key;
DROP TABLE ledger_invoice_old;
CREATE INDEX ledger_invoice_order ON ledger_invoice (order_key);
CREATE INDEX ledger_invoice_customer ON ledger_invoice (customer_id, invoice_id);
CREATE INDEX ledger_invoice_due ON ledger_invoice (due_time, invoice_id) WHERE state = 'open';

-- The journal. Rows are never updated nor deleted. Postings of one entry and currency sum to zero.
CREATE TABLE ledger_entry (
    -- What happened, once for ever: `issue/7`, `payment/BANK-1`.
    entry_key text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('issue', 'payment', 'void')),
    invoice_id bigint NOT NULL REFERENCES ledger_invoice (invoice_id),
    actor text NOT NULL,
    time timestamptz NOT NULL
);
CREATE INDEX ledger_entry_invoice ON ledger_entry (invoice_id);
CREATE TABLE ledger_posting (
    entry_key text NOT NULL REFERENCES ledger_entry (entry_key),
    -- `receivable/{customer}`, `revenue`, `cash`.
    account text NOT NULL,
    currency text NOT NULL,
    -- Debit above zero, credit below.
    amount_nanos bigint NOT NULL CHECK (amount_nanos <> 0),
    PRIMARY KEY (entry_key, account)
);

-- Billing's own: which payments were told of, so that a repeat is not told again.
CREATE TABLE payment (
    provider text NOT NULL,
    reference text NOT NULL,
    invoice_id bigint NOT NULL,
    time timestamptz NOT NULL,
    PRIMARY KEY (provider, reference)
);

-- Billing's own: which invoices it has announced as overdue, and which of these are settled.
CREATE TABLE dunning (
    provider text NOT NULL,
    invoice_id bigint NOT NULL,
    s3uid text NOT NULL,
    overdue_time timestamptz NOT NULL,
    settle_time timestamptz,
    PRIMARY KEY (provider, invoice_id)
);
CREATE INDEX dunning_open ON dunning (s3uid) WHERE settle_time IS NULL;
-- One row for each account with a row above, locked while these are changed, so that of two last
-- payments at once one sees the other.
CREATE TABLE dunning_account (s3uid text PRIMARY KEY);
