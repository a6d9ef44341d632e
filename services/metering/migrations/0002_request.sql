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
