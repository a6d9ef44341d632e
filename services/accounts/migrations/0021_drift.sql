-- What the last round of comparing engines, meter and bills has found. An account in which nothing
-- differs has no row.
CREATE TABLE drift (
    s3uid text PRIMARY KEY,
    -- What drifts, as text; empty: nothing for certain.
    figures text NOT NULL,
    -- When that was last told.
    told_time timestamptz,
    -- What an engine that tells changes late says it stores while metering has something else, and
    -- since when.
    suspected_bytes bigint,
    suspected_since timestamptz,
    -- When the round began that has found it.
    round_time timestamptz NOT NULL
);
