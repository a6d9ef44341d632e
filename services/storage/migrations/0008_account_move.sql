-- Whether nothing in the account may be changed, since it is compared with its copy.
ALTER TABLE account ADD COLUMN frozen boolean NOT NULL DEFAULT false;

-- Moves of accounts from one location to another. Where each stands is stored after every page of
-- objects, so that another process goes on there.
CREATE TABLE account_move (
    id uuid PRIMARY KEY,
    s3uid text NOT NULL,
    from_location text NOT NULL,
    to_location text NOT NULL,
    state text NOT NULL CHECK (state IN ('PREPARING', 'COPYING', 'COPIED', 'FREEZING', 'VERIFYING',
        'VERIFIED', 'SWITCHING', 'SWITCHED', 'CONFIRMING', 'CONFIRMED', 'CANCELLING', 'CANCELLED',
        'FAILING', 'FAILED')),
    why text NOT NULL,
    -- Objects that cannot be moved, or did not verify: a list of texts.
    faults jsonb NOT NULL,
    start_buckets bigint NOT NULL,
    start_objects bigint NOT NULL,
    start_bytes bigint NOT NULL,
    copied_objects bigint NOT NULL,
    copied_bytes bigint NOT NULL,
    unfinished_uploads bigint NOT NULL,
    -- The pass under way: where it stands, what it has looked at, what it had to change.
    checked_objects bigint NOT NULL,
    checked_bytes bigint NOT NULL,
    pass_changes bigint NOT NULL,
    -- Empty: at the beginning.
    pass_bucket text NOT NULL,
    -- Keys up to this one are done; absent: the bucket is only begun.
    pass_after bytea,
    -- Passes that ended, and comparisons that failed, since the last state that a caller asked for.
    passes bigint NOT NULL,
    rounds bigint NOT NULL,
    -- When the last object was written at the old side, by its engine's clock, as of the comparison.
    last_write_time timestamptz,
    -- Failed attempts in a row, and when the next one may be.
    attempts bigint NOT NULL,
    next_attempt_time timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    freeze_time timestamptz,
    switch_time timestamptz,
    end_time timestamptz
);
CREATE UNIQUE INDEX account_move_open ON account_move (s3uid)
    WHERE state NOT IN ('CONFIRMED', 'CANCELLED');
CREATE INDEX account_move_by_account ON account_move (s3uid, id);
CREATE INDEX account_move_due ON account_move (next_attempt_time)
    WHERE state IN ('COPYING', 'FREEZING', 'VERIFYING', 'CONFIRMING', 'CANCELLING', 'FAILING');

-- Copies whose entity tag is another than that of what was copied, since it came in other parts.
CREATE TABLE account_move_copy (
    move_id uuid NOT NULL,
    bucket text NOT NULL,
    key bytea NOT NULL,
    from_etag text NOT NULL,
    to_etag text NOT NULL,
    PRIMARY KEY (move_id, bucket, key)
);
