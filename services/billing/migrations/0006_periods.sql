-- Periods are closed and rated. What was sold before this counts its peak, which is what the facade
-- has always shown.
ALTER TABLE plan_version ADD COLUMN storage_mode text NOT NULL DEFAULT 'peak'
    CHECK (storage_mode IN ('peak', 'average', 'last'));

-- Number of the period that is open, from 1; absent before it is active and when its last period is
-- closed. One that was active before this begins with the period it was in then.
ALTER TABLE subscription ADD COLUMN period_number bigint;
-- When something of it is to be closed: its open period or, behind its last one, what came late.
ALTER TABLE subscription ADD COLUMN close_time timestamptz;
CREATE INDEX subscription_close ON subscription (close_time, order_key)
    WHERE close_time IS NOT NULL;
CREATE INDEX subscription_unbegun ON subscription (order_key)
    WHERE state = 'active' AND period_number IS NULL AND close_time IS NULL;

-- Moves to another plan or version. The saga that moves it gives the key, and takes the move back
-- with it.
CREATE TABLE plan_change (
    order_key text NOT NULL REFERENCES subscription (order_key),
    change_key text NOT NULL,
    from_plan_id bigint NOT NULL,
    from_version bigint NOT NULL,
    to_plan_id bigint NOT NULL,
    to_version bigint NOT NULL,
    time timestamptz NOT NULL,
    PRIMARY KEY (order_key, change_key)
);

-- A period that is closed, once for ever. Number 0 has no time: its bill is that of the order.
CREATE TABLE closed_period (
    order_key text NOT NULL REFERENCES subscription (order_key),
    number bigint NOT NULL CHECK (number >= 0),
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    -- What is charged for the period behind it; absent: there is none, or somebody else charges.
    next_plan_id bigint,
    next_version bigint,
    next_end_time timestamptz,
    -- Its bill.
    bill_key text NOT NULL,
    -- Facts may still come in for it; a bill behind it corrects it then.
    is_sealed boolean NOT NULL,
    close_time timestamptz NOT NULL,
    PRIMARY KEY (order_key, number)
);
CREATE INDEX closed_period_unsealed ON closed_period (order_key) WHERE NOT is_sealed;
CREATE INDEX closed_period_bill ON closed_period (bill_key);

-- Metering's figures for a segment of a closed period, in which one version of a plan held. Frozen:
-- facts that come later make another revision, and a correction.
CREATE TABLE usage_snapshot (
    order_key text NOT NULL,
    number bigint NOT NULL,
    segment bigint NOT NULL CHECK (segment >= 0),
    revision bigint NOT NULL CHECK (revision >= 0),
    plan_id bigint NOT NULL,
    version bigint NOT NULL,
    from_time timestamptz NOT NULL,
    to_time timestamptz NOT NULL,
    paid_to_time timestamptz NOT NULL,
    received_bytes bigint NOT NULL,
    sent_bytes bigint NOT NULL,
    stored_peak_bytes bigint NOT NULL,
    stored_last_bytes bigint NOT NULL,
    -- Decimal: it may pass 64 bits.
    stored_byte_seconds text NOT NULL,
    as_of_time timestamptz,
    -- The bill it was rated for.
    bill_key text NOT NULL,
    PRIMARY KEY (order_key, number, segment, revision),
    FOREIGN KEY (order_key, number) REFERENCES closed_period (order_key, number)
);
CREATE INDEX usage_snapshot_bill ON usage_snapshot (bill_key);

-- What is charged at once. Only its last three columns change, each once.
CREATE TABLE bill (
    -- The order's key and the number of the period it closes: `…/3`; what comes late: `…/3/late`.
    bill_key text PRIMARY KEY,
    order_key text NOT NULL REFERENCES subscription (order_key),
    provider text NOT NULL,
    customer_id bigint NOT NULL,
    currency text NOT NULL,
    total_nanos bigint NOT NULL,
    create_time timestamptz NOT NULL,
    -- The provider's invoice; 0: a credit note, or nothing to charge.
    invoice_id bigint,
    issue_time timestamptz
);
CREATE INDEX bill_draft ON bill (bill_key) WHERE invoice_id IS NULL;
CREATE INDEX bill_invoice ON bill (provider, invoice_id) WHERE invoice_id > 0;
CREATE INDEX bill_order ON bill (order_key);
CREATE INDEX bill_customer ON bill (customer_id, create_time);

-- Lines of a bill. Never updated nor deleted.
CREATE TABLE charge (
    bill_key text NOT NULL REFERENCES bill (bill_key),
    line bigint NOT NULL CHECK (line >= 1),
    kind text NOT NULL CHECK (kind IN ('base', 'base_returned', 'base_changed', 'storage',
        'traffic', 'storage_correction', 'traffic_correction')),
    plan_id bigint NOT NULL,
    version bigint NOT NULL,
    from_time timestamptz NOT NULL,
    to_time timestamptz NOT NULL,
    aggregate_bytes bigint NOT NULL,
    included_bytes bigint NOT NULL,
    quantity_bytes bigint NOT NULL,
    price_nanos bigint NOT NULL,
    gb_bytes bigint NOT NULL,
    hours bigint NOT NULL,
    period_hours bigint NOT NULL,
    prior_nanos bigint NOT NULL,
    amount_nanos bigint NOT NULL,
    PRIMARY KEY (bill_key, line)
);
