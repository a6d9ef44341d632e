-- Facts as they came. An id is used once by its source, whatever its fact is of. On PostgreSQL the
-- role makes partitions of this table, by span; see src/store/partition.rs.
CREATE TABLE fact (
    -- Days since 1970 over 8, of the fact's time; of a correction, of the time it was booked.
    span bigint NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    -- The first 16 bytes of the SHA-256 of what the fact says.
    digest bytea NOT NULL,
    s3uid text NOT NULL,
    bucket text NOT NULL,
    -- As in the contract: 1 stored, 2 deleted, 3 received bytes and so on.
    kind bigint NOT NULL,
    time timestamptz NOT NULL,
    value bigint NOT NULL,
    object_count bigint NOT NULL,
    PRIMARY KEY (source, id, span)
);
CREATE INDEX fact_of_account ON fact (s3uid, time);
CREATE INDEX fact_age ON fact (span);

-- Who tells facts. Whoever takes some of a source holds its row, so that an id which is not found
-- is not there.
CREATE TABLE fact_source (source text PRIMARY KEY, last_time timestamptz NOT NULL);

-- Ids under which a source told two things: the first holds.
CREATE TABLE fact_conflict (
    source text NOT NULL,
    id text NOT NULL,
    s3uid text NOT NULL,
    refused text NOT NULL,
    count bigint NOT NULL,
    last_time timestamptz NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX fact_conflict_by_time ON fact_conflict (last_time);

-- One row: from when on all facts are in `fact`. Those that came before this table was there are
-- in the rollups only.
CREATE TABLE fact_start (one bigint PRIMARY KEY CHECK (one = 1), start_time timestamptz NOT NULL);

-- Requests that were refused, and the bytes of their bodies.
ALTER TABLE traffic ADD COLUMN refused_requests bigint NOT NULL DEFAULT 0;
ALTER TABLE traffic ADD COLUMN refused_bytes bigint NOT NULL DEFAULT 0;
