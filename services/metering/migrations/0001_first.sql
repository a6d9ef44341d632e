CREATE TABLE sequence (name text PRIMARY KEY, value bigint NOT NULL);
CREATE TABLE outbox (position bigint PRIMARY KEY, id uuid NOT NULL UNIQUE, source text NOT NULL, type text NOT NULL, subject text NOT NULL, time timestamptz NOT NULL, data bytea NOT NULL, attempts bigint NOT NULL DEFAULT 0, dead boolean NOT NULL DEFAULT false);
CREATE TABLE inbox (consumer text NOT NULL, source text NOT NULL, id uuid NOT NULL, time timestamptz NOT NULL, PRIMARY KEY (consumer, source, id));

-- What an account is, for filters. Facts may be there before their meter.
CREATE TABLE meter (
    s3uid text PRIMARY KEY,
    account_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    email text NOT NULL,
    email_lower text NOT NULL,
    plan_id bigint NOT NULL,
    location text NOT NULL,
    storage_type text NOT NULL,
    billing text NOT NULL,
    gb_bytes bigint NOT NULL CHECK (gb_bytes > 0),
    closed_time timestamptz
);
CREATE INDEX meter_customer ON meter (customer_id);
CREATE INDEX meter_account ON meter (account_id);
CREATE INDEX meter_email ON meter (email_lower);

-- Latest figures of an account that has facts.
CREATE TABLE account (
    s3uid text PRIMARY KEY,
    stored_bytes bigint NOT NULL CHECK (stored_bytes >= 0),
    newest_sample_time timestamptz,
    as_of_time timestamptz NOT NULL
);

-- Latest figures of a bucket. `sample_time` is absent while only its traffic is known.
CREATE TABLE bucket (
    s3uid text NOT NULL,
    bucket text NOT NULL CHECK (bucket <> ''),
    stored_bytes bigint NOT NULL CHECK (stored_bytes >= 0),
    object_count bigint NOT NULL CHECK (object_count >= 0),
    is_deleted boolean NOT NULL,
    sample_time timestamptz,
    as_of_time timestamptz NOT NULL,
    PRIMARY KEY (s3uid, bucket)
);
CREATE INDEX bucket_name ON bucket (bucket);

-- Samples as they came, for as long as earlier ones may still come in.
CREATE TABLE sample (
    s3uid text NOT NULL,
    bucket text NOT NULL CHECK (bucket <> ''),
    time timestamptz NOT NULL,
    stored_bytes bigint NOT NULL CHECK (stored_bytes >= 0),
    object_count bigint NOT NULL CHECK (object_count >= 0),
    is_deleted boolean NOT NULL,
    PRIMARY KEY (s3uid, bucket, time)
);
CREATE INDEX sample_by_time ON sample (s3uid, time);
CREATE INDEX sample_age ON sample (time);

-- Windows in which a sample fell; every other window is as the last one before it ended.
-- step: 0 an hour, 1 a day. bucket: empty for the whole account.
-- byte_micros: bytes times microseconds over the whole window, decimal (it may pass 64 bits).
-- peak_before_bytes: the peak until last_time; peak_bytes also counts last_bytes.
CREATE TABLE stored (
    s3uid text NOT NULL,
    bucket text NOT NULL,
    step bigint NOT NULL CHECK (step IN (0, 1)),
    start_time timestamptz NOT NULL,
    peak_bytes bigint NOT NULL,
    peak_before_bytes bigint NOT NULL,
    last_bytes bigint NOT NULL,
    last_time timestamptz NOT NULL,
    byte_micros text NOT NULL,
    PRIMARY KEY (s3uid, bucket, step, start_time)
);

-- Windows in which something moved; steps and buckets as above. Calls that name no bucket count
-- for the account only.
CREATE TABLE traffic (
    s3uid text NOT NULL,
    bucket text NOT NULL,
    step bigint NOT NULL CHECK (step IN (0, 1)),
    start_time timestamptz NOT NULL,
    received_bytes bigint NOT NULL,
    sent_bytes bigint NOT NULL,
    read_requests bigint NOT NULL,
    write_requests bigint NOT NULL,
    PRIMARY KEY (s3uid, bucket, step, start_time)
);
