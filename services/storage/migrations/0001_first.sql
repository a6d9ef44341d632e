-- Shared by every role: sequences, events to send, events seen.
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

-- Places where accounts can be. Written from the configuration at each start, never deleted:
-- accounts refer to them.
CREATE TABLE location (
    code text PRIMARY KEY,
    engine text NOT NULL,
    endpoint text NOT NULL,
    region text NOT NULL,
    storage_types jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('OPEN', 'DRAINING')),
    update_time timestamptz NOT NULL
);

-- What storage knows of an account. A removed one stays as a tombstone, so that a late repeat of
-- the call that made it cannot bring it back; a tombstone of an account never seen has neither
-- customer nor location.
CREATE TABLE account (
    s3uid text PRIMARY KEY,
    customer_id bigint,
    location text REFERENCES location (code),
    quota_bytes bigint CHECK (quota_bytes > 0),
    bucket_max bigint CHECK (bucket_max > 0),
    state text NOT NULL CHECK (state IN ('PENDING', 'ACTIVE', 'REMOVING', 'REMOVED')),
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    CHECK (state = 'REMOVED' OR (customer_id IS NOT NULL AND location IS NOT NULL))
);

-- How far each location's usage has been read. Empty cursor: from the beginning.
CREATE TABLE usage_cursor (
    location text PRIMARY KEY REFERENCES location (code),
    cursor text NOT NULL,
    update_time timestamptz NOT NULL
);

-- The highest absolute totals already sent on. What an engine reports beyond them is new.
CREATE TABLE traffic_total (
    location text NOT NULL,
    s3uid text NOT NULL,
    bucket text NOT NULL,
    hour timestamptz NOT NULL,
    received_bytes bigint NOT NULL,
    sent_bytes bigint NOT NULL,
    read_requests bigint NOT NULL,
    write_requests bigint NOT NULL,
    PRIMARY KEY (location, s3uid, bucket, hour)
);
CREATE INDEX traffic_total_hour ON traffic_total (hour);
