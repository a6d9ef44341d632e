-- The index of the embedded engine. SQLite only: it lies beside the blobs it speaks of.
CREATE TABLE sequence (name text PRIMARY KEY, value bigint NOT NULL);

CREATE TABLE account (
    uid text PRIMARY KEY,
    quota_bytes bigint,
    bucket_max bigint,
    bucket_count bigint NOT NULL DEFAULT 0,
    object_count bigint NOT NULL DEFAULT 0,
    stored_bytes bigint NOT NULL DEFAULT 0,
    unfinished_bytes bigint NOT NULL DEFAULT 0
);

-- Secrets are sealed by the keyring, bound to their key's id.
CREATE TABLE access_key (
    access_key text PRIMARY KEY,
    uid text NOT NULL,
    sealed_secret bytea NOT NULL
);
CREATE INDEX access_key_uid ON access_key (uid);

-- `changed` comes from the sequence `change`: what a reader of usage asks by.
CREATE TABLE bucket (
    id bigint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    uid text NOT NULL,
    create_time timestamptz NOT NULL,
    object_count bigint NOT NULL DEFAULT 0,
    stored_bytes bigint NOT NULL DEFAULT 0,
    received_bytes bigint NOT NULL DEFAULT 0,
    sent_bytes bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL
);
CREATE INDEX bucket_uid ON bucket (uid, name);
CREATE INDEX bucket_changed ON bucket (changed);

CREATE TABLE dead_bucket (
    changed bigint PRIMARY KEY,
    uid text NOT NULL,
    name text NOT NULL,
    delete_time timestamptz NOT NULL
);

-- `content` names the segments; `upload` is the multipart upload that made the object, so that a
-- repeated completion finds its own work.
CREATE TABLE object (
    bucket_id bigint NOT NULL,
    key bytea NOT NULL,
    etag text NOT NULL,
    size_bytes bigint NOT NULL,
    update_time timestamptz NOT NULL,
    content text NOT NULL,
    upload text,
    meta text NOT NULL,
    PRIMARY KEY (bucket_id, key)
) WITHOUT ROWID;

-- A segment is a blob file, or `data` itself when the object is small.
CREATE TABLE segment (
    content text NOT NULL,
    position bigint NOT NULL,
    blob text UNIQUE,
    size_bytes bigint NOT NULL,
    data bytea,
    PRIMARY KEY (content, position)
);

CREATE TABLE upload (
    id text PRIMARY KEY,
    bucket_id bigint NOT NULL,
    key bytea NOT NULL,
    create_time timestamptz NOT NULL,
    meta text NOT NULL
);
CREATE UNIQUE INDEX upload_key ON upload (bucket_id, key, id);

CREATE TABLE part (
    upload text NOT NULL,
    number bigint NOT NULL,
    blob text NOT NULL UNIQUE,
    size_bytes bigint NOT NULL,
    etag text NOT NULL,
    sums text NOT NULL,
    update_time timestamptz NOT NULL,
    PRIMARY KEY (upload, number)
);

-- Files to unlink once nobody reads `content`.
CREATE TABLE gc (blob text PRIMARY KEY, content text NOT NULL);

CREATE TABLE traffic (
    hour timestamptz NOT NULL,
    uid text NOT NULL,
    bucket text NOT NULL,
    received_bytes bigint NOT NULL,
    sent_bytes bigint NOT NULL,
    read_requests bigint NOT NULL,
    write_requests bigint NOT NULL,
    changed bigint NOT NULL,
    PRIMARY KEY (hour, uid, bucket)
);
CREATE INDEX traffic_changed ON traffic (changed);
