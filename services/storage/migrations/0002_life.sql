-- Whether the account's requests are refused while its data stays.
ALTER TABLE account ADD COLUMN suspended boolean NOT NULL DEFAULT false;
CREATE INDEX account_by_location ON account (location, s3uid);

-- Deletions of buckets with all that is in them. Each batch is noted before it is deleted and
-- counted once it is known what of it has gone, so that a crash neither loses nor doubles it.
CREATE TABLE bucket_deletion (
    id uuid PRIMARY KEY,
    s3uid text NOT NULL,
    bucket text NOT NULL,
    location text NOT NULL,
    -- Tells the bucket from one that is made under its name later.
    bucket_create_time timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('RUNNING', 'PAUSED', 'DONE', 'CANCELLED', 'FAILED')),
    why text NOT NULL,
    -- Whom history names; absent: history is not told.
    actor text,
    -- Id of the call that started it.
    request_id text NOT NULL,
    by_customer boolean NOT NULL,
    start_objects bigint NOT NULL,
    start_bytes bigint NOT NULL,
    deleted_objects bigint NOT NULL,
    deleted_bytes bigint NOT NULL,
    -- The last key of the batch under way; absent: there is none. Empty: the bucket itself.
    batch_last bytea,
    batch_objects bigint NOT NULL,
    batch_bytes bigint NOT NULL,
    -- Failed attempts in a row, and when the next one may be.
    attempts bigint NOT NULL,
    next_attempt_time timestamptz NOT NULL,
    -- Which turn of which process works on it, and until when no other one may.
    lease_owner uuid NOT NULL,
    lease_process uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    end_time timestamptz
);
CREATE UNIQUE INDEX bucket_deletion_open ON bucket_deletion (s3uid, bucket)
    WHERE state IN ('RUNNING', 'PAUSED');
CREATE INDEX bucket_deletion_by_account ON bucket_deletion (s3uid, id);
CREATE INDEX bucket_deletion_due ON bucket_deletion (next_attempt_time)
    WHERE state = 'RUNNING' OR batch_last IS NOT NULL;
CREATE INDEX bucket_deletion_by_end ON bucket_deletion (end_time);
