-- Shared by all roles: see stowage-db and stowage-bus.
CREATE TABLE sequence (name text PRIMARY KEY, value bigint NOT NULL);
CREATE TABLE outbox (
    position bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    source text NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    time timestamptz NOT NULL,
    data bytea NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    dead boolean NOT NULL DEFAULT false
);
CREATE TABLE inbox (
    consumer text NOT NULL,
    source text NOT NULL,
    id uuid NOT NULL,
    time timestamptz NOT NULL,
    PRIMARY KEY (consumer, source, id)
);

-- Belongs to stowage-saga. A role that runs sagas copies this into its own first migration.
CREATE TABLE saga (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    state text NOT NULL,
    step bigint NOT NULL,
    direction text NOT NULL CHECK (direction IN ('forward', 'undoing')),
    status text NOT NULL CHECK (status IN ('running', 'completed', 'undone', 'stuck')),
    attempts bigint NOT NULL,
    next_attempt_time timestamptz NOT NULL,
    lease_owner text NOT NULL,
    lease_until timestamptz NOT NULL,
    failure_step text,
    failure_reason text,
    failure_why text,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL
);
CREATE INDEX saga_open ON saga (kind, lease_until) WHERE status = 'running';
CREATE INDEX saga_closed ON saga (update_time) WHERE status IN ('completed', 'undone');

-- The first customer is 1001.
INSERT INTO sequence (name, value) VALUES ('customer', 1000);

CREATE TABLE customer (
    customer_id bigint PRIMARY KEY,
    email text NOT NULL,
    -- The address in lower case: unique whatever its case.
    email_key text NOT NULL UNIQUE,
    currency text NOT NULL,
    create_time timestamptz NOT NULL
);

CREATE TABLE api_key (
    api_key_id uuid PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    key_hash bytea NOT NULL UNIQUE,
    hint text NOT NULL,
    label text NOT NULL,
    create_time timestamptz NOT NULL,
    revoke_time timestamptz
);
CREATE INDEX api_key_of_customer ON api_key (customer_id, api_key_id);

CREATE TABLE token (
    token_hash bytea PRIMARY KEY,
    role bigint NOT NULL,
    subject text NOT NULL,
    customer_id bigint REFERENCES customer,
    api_key_id uuid REFERENCES api_key,
    -- The only address it is good from; empty: any.
    fixed_address text NOT NULL,
    create_time timestamptz NOT NULL,
    -- Absent: it does not end.
    expire_time timestamptz
);
CREATE INDEX token_of_api_key ON token (api_key_id);
CREATE INDEX token_by_end ON token (expire_time);

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

CREATE TABLE account (
    s3uid text PRIMARY KEY,
    account_id bigint NOT NULL UNIQUE,
    customer_id bigint NOT NULL REFERENCES customer,
    plan_id bigint NOT NULL,
    plan_version bigint NOT NULL,
    location text NOT NULL,
    storage_type text NOT NULL,
    state text NOT NULL CHECK (state IN ('PENDING', 'ACTIVE', 'FAILED', 'DELETING', 'DELETED')),
    endpoint text NOT NULL,
    quota_bytes bigint NOT NULL,
    bucket_max bigint NOT NULL,
    gb_bytes bigint NOT NULL,
    -- Name of the first bucket, as ordered.
    bucket text NOT NULL,
    -- Integer ids of the billing provider; 0 before the order has ended well.
    service_id bigint NOT NULL,
    order_id bigint NOT NULL,
    invoice_id bigint NOT NULL,
    billing text NOT NULL,
    create_time timestamptz NOT NULL,
    active_time timestamptz,
    cancel_time timestamptz,
    order_saga uuid,
    deletion_saga uuid,
    -- Set while an order without request_id guards against its repeats.
    guard_key text UNIQUE
);
CREATE INDEX account_of_customer ON account (customer_id, account_id);
CREATE INDEX account_by_order ON account (customer_id, plan_id, bucket);
CREATE INDEX account_due ON account (cancel_time) WHERE state = 'ACTIVE';

CREATE TABLE access_key (
    access_key text PRIMARY KEY,
    s3uid text NOT NULL REFERENCES account,
    -- The secret, sealed; absent once it was erased.
    sealed bytea,
    create_time timestamptz NOT NULL
);
CREATE INDEX access_key_of_account ON access_key (s3uid);

CREATE TABLE history (
    id bigint PRIMARY KEY,
    create_time timestamptz NOT NULL,
    event text NOT NULL,
    actor text NOT NULL,
    -- 0: nobody's, a change of a plan.
    customer_id bigint NOT NULL,
    -- 0: of no plan.
    plan_id bigint NOT NULL,
    s3uid text NOT NULL,
    old_json text NOT NULL,
    new_json text NOT NULL
);
-- Readings of secrets outnumber changes by far where clients poll; most listings leave them out.
CREATE INDEX history_changes_of_customer ON history (customer_id, id) WHERE event <> 'key.read';
CREATE INDEX history_changes_of_plan ON history (plan_id, id) WHERE event <> 'key.read';
CREATE INDEX history_changes_of_account ON history (s3uid, id) WHERE event <> 'key.read';
CREATE INDEX history_of_customer ON history (customer_id, id);
CREATE INDEX history_of_account ON history (s3uid, id);
