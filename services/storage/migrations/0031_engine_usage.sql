-- What was reported of an account is read by account and hour, wherever it was: it is held against
-- what metering has.
CREATE INDEX traffic_total_account ON traffic_total (s3uid, hour);

-- The last sample of each bucket and hour that was sent to metering.
CREATE TABLE sample_sent (
    s3uid text NOT NULL,
    hour timestamptz NOT NULL,
    bucket text NOT NULL,
    time timestamptz NOT NULL,
    stored_bytes bigint NOT NULL,
    is_deleted boolean NOT NULL,
    PRIMARY KEY (s3uid, hour, bucket)
);
CREATE INDEX sample_sent_hour ON sample_sent (hour);
