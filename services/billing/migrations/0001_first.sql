-- Shared by every role.
CREATE TABLE sequence (name text PRIMARY KEY, value bigint NOT NULL);
CREATE TABLE outbox (position bigint PRIMARY KEY, id uuid NOT NULL UNIQUE, source text NOT NULL, type text NOT NULL, subject text NOT NULL, time timestamptz NOT NULL, data bytea NOT NULL, attempts bigint NOT NULL DEFAULT 0, dead boolean NOT NULL DEFAULT false);
CREATE TABLE inbox (consumer text NOT NULL, source text NOT NULL, id uuid NOT NULL, time timestamptz NOT NULL, PRIMARY KEY (consumer, source, id));

-- Belongs to stowage-request, which says what it means. One row for each request id.
CREATE TABLE request (
    -- Who sent it: request ids of one cannot meet those of another.
    scope text NOT NULL,
    request_id text NOT NULL,
    -- For operators; the digest covers it.
    method text NOT NULL,
    -- Hash of the method and of the request without its id.
    digest bytea NOT NULL,
    -- Which attempt executes it, and until when no other one may.
    owner uuid NOT NULL,
    -- The process of that attempt.
    process uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    -- Name of what its effect has begun to make; empty: of nothing.
    made text NOT NULL,
    -- The encoded answer, sealed if it carries a secret; absent while the request is executed.
    answer bytea,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (scope, request_id)
);
CREATE INDEX request_by_expiry ON request (expire_time);

-- What was done once and must not be done again: `seed_catalogue`.
CREATE TABLE marker (name text PRIMARY KEY, time timestamptz NOT NULL);

-- What is sold now. The terms are in plan_version; the title is repeated here to be unique among
-- active plans.
CREATE TABLE plan (
    plan_id bigint PRIMARY KEY,
    version bigint NOT NULL CHECK (version >= 1),
    title text NOT NULL,
    active boolean NOT NULL,
    create_time timestamptz NOT NULL
);
CREATE UNIQUE INDEX plan_title_active ON plan (title) WHERE active;

-- Terms of a plan. Rows are never updated nor deleted: subscriptions were sold with them.
CREATE TABLE plan_version (
    plan_id bigint NOT NULL REFERENCES plan (plan_id),
    version bigint NOT NULL CHECK (version >= 1),
    title text NOT NULL,
    storage_type text NOT NULL,
    location text NOT NULL,
    base_price_nanos bigint NOT NULL CHECK (base_price_nanos >= 0),
    quota_bytes bigint NOT NULL CHECK (quota_bytes >= 0),
    bucket_max bigint NOT NULL CHECK (bucket_max >= 0),
    gb_bytes bigint NOT NULL CHECK (gb_bytes IN (1073741824, 1000000000)),
    included_storage_gb bigint NOT NULL CHECK (included_storage_gb >= 0),
    included_traffic_gb bigint NOT NULL CHECK (included_traffic_gb >= 0),
    period text NOT NULL CHECK (period IN ('monthly', 'yearly')),
    free boolean NOT NULL,
    account_max_per_customer bigint NOT NULL CHECK (account_max_per_customer >= 0),
    actor text NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (plan_id, version)
);

-- Prices of a version, in nano-units of their currency. Never updated nor deleted.
CREATE TABLE plan_price (
    plan_id bigint NOT NULL,
    version bigint NOT NULL,
    currency text NOT NULL,
    position bigint NOT NULL,
    period_nanos bigint NOT NULL CHECK (period_nanos >= 0),
    storage_overage_nanos bigint NOT NULL CHECK (storage_overage_nanos >= 0),
    traffic_overage_nanos bigint NOT NULL CHECK (traffic_overage_nanos >= 0),
    PRIMARY KEY (plan_id, version, currency),
    FOREIGN KEY (plan_id, version) REFERENCES plan_version (plan_id, version)
);

-- Every order key that was ever seen. Whoever changes an order locks its row first, so that an
-- order and its undo cannot pass each other; a key that was undone is spent for ever.
CREATE TABLE order_key (
    order_key text PRIMARY KEY,
    undone boolean NOT NULL,
    create_time timestamptz NOT NULL
);

-- One row for each customer who ever ordered a plan, locked while his subscriptions are counted.
CREATE TABLE plan_holder (
    plan_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    PRIMARY KEY (plan_id, customer_id)
);

-- `ordering`: reserved here, the provider's answer is not known yet.
CREATE TABLE subscription (
    order_key text PRIMARY KEY REFERENCES order_key (order_key),
    provider text NOT NULL,
    customer_id bigint NOT NULL,
    s3uid text NOT NULL,
    plan_id bigint NOT NULL,
    plan_version bigint NOT NULL,
    currency text NOT NULL,
    location text NOT NULL,
    state text NOT NULL
        CHECK (state IN ('ordering', 'pending', 'active', 'cancelled', 'terminated')),
    service_id bigint,
    order_id bigint,
    invoice_id bigint,
    -- When it was accepted: periods are counted from here.
    anchor_time timestamptz,
    -- When it was terminated or undone.
    end_time timestamptz,
    -- When its scheduled end falls due.
    cancel_time timestamptz,
    -- Counts the changes of cancel_time, and how far the provider was told of them.
    schedule_version bigint NOT NULL DEFAULT 0,
    mirrored_version bigint NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL,
    UNIQUE (provider, service_id),
    FOREIGN KEY (plan_id, plan_version, currency)
        REFERENCES plan_price (plan_id, version, currency),
    CHECK (state IN ('ordering', 'cancelled') OR service_id IS NOT NULL),
    CHECK (state <> 'active' OR anchor_time IS NOT NULL)
);
CREATE INDEX subscription_open ON subscription (plan_id, customer_id)
    WHERE state IN ('ordering', 'pending', 'active');
CREATE INDEX subscription_unmirrored ON subscription (order_key)
    WHERE schedule_version > mirrored_version;
