-- The ledger keeps customers' credit, with holds for orders, and invoices of every period.
ALTER TABLE ledger_invoice ADD COLUMN invoice_key text;
CREATE UNIQUE INDEX ledger_invoice_key ON ledger_invoice (invoice_key);
-- How much of what is paid came by credit notes.
ALTER TABLE ledger_invoice ADD COLUMN credited_nanos bigint NOT NULL DEFAULT 0;
CREATE INDEX ledger_invoice_open ON ledger_invoice (customer_id, due_time, invoice_id)
    WHERE state = 'open';

-- The journal, made anew since entries need not be about an invoice any more.
ALTER TABLE ledger_posting RENAME TO ledger_posting_old;
ALTER TABLE ledger_entry RENAME TO ledger_entry_old;
DROP INDEX ledger_entry_invoice;
CREATE TABLE ledger_entry (
    -- What happened, once for ever: `issue/7`, `payment/BANK-1`, `credit/BANK-2`.
    entry_key text CONSTRAINT ledger_entry_once PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('issue', 'payment', 'void', 'credit', 'grant', 'note',
        'apply', 'return', 'hold', 'post', 'release')),
    customer_id bigint NOT NULL,
    invoice_id bigint REFERENCES ledger_invoice (invoice_id),
    -- For people: why.
    text text NOT NULL DEFAULT '',
    actor text NOT NULL,
    time timestamptz NOT NULL
);
INSERT INTO ledger_entry (entry_key, kind, customer_id, invoice_id, actor, time)
    SELECT e.entry_key, e.kind, i.customer_id, e.invoice_id, e.actor, e.time
    FROM ledger_entry_old e JOIN ledger_invoice i ON i.invoice_id = e.invoice_id;
CREATE INDEX ledger_entry_invoice ON ledger_entry (invoice_id);
CREATE INDEX ledger_entry_customer ON ledger_entry (customer_id, time);
CREATE TABLE ledger_posting (
    entry_key text NOT NULL REFERENCES ledger_entry (entry_key),
    -- `receivable/{customer}`, `credit/{customer}`, `held/{customer}`, `revenue`, `cash`.
    account text NOT NULL,
    currency text NOT NULL,
    -- Debit above zero, credit below.
    amount_nanos bigint NOT NULL CHECK (amount_nanos <> 0),
    PRIMARY KEY (entry_key, account)
);
INSERT INTO ledger_posting (entry_key, account, currency, amount_nanos)
    SELECT entry_key, account, currency, amount_nanos FROM ledger_posting_old;
DROP TABLE ledger_posting_old;
DROP TABLE ledger_entry_old;

-- What a customer has paid in and not used: always what the journal says of his accounts. Its row is
-- locked by whoever changes it.
CREATE TABLE ledger_balance (
    customer_id bigint NOT NULL,
    currency text NOT NULL,
    -- He may use it.
    credit_nanos bigint NOT NULL CHECK (credit_nanos >= 0),
    -- It is kept for orders that are not accepted yet.
    held_nanos bigint NOT NULL CHECK (held_nanos >= 0),
    PRIMARY KEY (customer_id, currency)
);

-- Credit that is kept for an order: until it is accepted, which posts it, or undone, which voids it.
CREATE TABLE ledger_hold (
    order_key text PRIMARY KEY,
    customer_id bigint NOT NULL,
    currency text NOT NULL,
    amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
    state text NOT NULL CHECK (state IN ('pending', 'posted', 'voided')),
    create_time timestamptz NOT NULL,
    settle_time timestamptz
);

-- Customers who pay in another way than the installation's others.
CREATE TABLE ledger_customer (
    customer_id bigint PRIMARY KEY,
    payment text NOT NULL CHECK (payment IN ('prepaid', 'invoiced'))
);
