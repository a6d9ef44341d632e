-- Changes of buckets that are under way: one of a bucket at a time.
CREATE TABLE bucket_change (
    s3uid text NOT NULL,
    bucket text NOT NULL,
    saga uuid NOT NULL,
    PRIMARY KEY (s3uid, bucket)
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

-- Belongs to stowage-saga. For operators' listings and the gauge of stuck sagas.
CREATE INDEX saga_stuck ON saga (kind, id) WHERE status = 'stuck';

-- Belongs to stowage-saga. Why the last attempt failed; absent once one succeeds.
ALTER TABLE saga ADD COLUMN attempt_error text;
