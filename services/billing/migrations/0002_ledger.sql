-- Tables of the built-in ledger (providers/ledger). They are in this folder since a database has
-- one history of migrations; only the ledger reads and writes them, billing's own queries never.

-- An order. A row in state `undone` without ids keeps the key of an order that never came.
CREATE TABLE ledger_order (
    order_key text PRIMARY KEY,
    customer_id bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('placed', 'active', 'terminated', 'undone')),
    order_id bigint UNIQUE,
    service_id bigint UNIQUE,
    -- 0: it costs nothing.
    invoice_id bigint,
    s3uid text,
    plan_id bigint,
    plan_version bigint,
    -- End that billing has planned; absent: none.
    end_time timestamptz,
    create_time timestamptz NOT NULL,
    activate_time timestamptz,
    close_time timestamptz,
    CHECK (state = 'undone' OR (order_id IS NOT NULL AND service_id IS NOT NULL
        AND invoice_id IS NOT NULL))
);

-- The number and the agreed amount of an order's first invoice. Nothing is issued, posted or
-- collected from it yet.
CREATE TABLE ledger_invoice (
    invoice_id bigint PRIMARY KEY,
    order_key text NOT NULL REFERENCES ledger_order (order_key),
    title text NOT NULL,
    currency text NOT NULL,
    amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
    state text NOT NULL CHECK (state IN ('draft', 'void')),
    create_time timestamptz NOT NULL
);
CREATE INDEX ledger_invoice_order ON ledger_invoice (order_key);
