-- What the days of a month come to, of each whole account in which something moved or a sample
-- fell: rankings add up months instead of days. It follows from the days of `traffic` and `stored`
-- and is kept in the transactions that change them.
CREATE TABLE account_month (
    -- The year and the month, as in 2026-11.
    month text NOT NULL,
    s3uid text NOT NULL,
    -- Bytes received and sent.
    traffic_bytes bigint NOT NULL,
    -- The highest peak of its days that have a row; what days before left is not in it.
    peak_bytes bigint NOT NULL,
    PRIMARY KEY (month, s3uid)
);

-- A time begins with its year and month as text on both databases.
INSERT INTO account_month (month, s3uid, traffic_bytes, peak_bytes)
SELECT month, s3uid, CAST(sum(traffic_bytes) AS bigint), max(peak_bytes) FROM (
    SELECT substr(CAST(start_time AS text), 1, 7) AS month, s3uid,
        received_bytes + sent_bytes AS traffic_bytes, CAST(0 AS bigint) AS peak_bytes
    FROM traffic WHERE bucket = '' AND step = 1
    UNION ALL
    SELECT substr(CAST(start_time AS text), 1, 7) AS month, s3uid,
        CAST(0 AS bigint) AS traffic_bytes, peak_bytes
    FROM stored WHERE bucket = '' AND step = 1
) days GROUP BY month, s3uid;

-- When a meter was opened, changed or closed: rankings that are kept in memory read only what
-- changed.
ALTER TABLE meter ADD COLUMN change_time timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00.000000Z';
CREATE INDEX meter_change ON meter (change_time);
