-- What was reported of an account is read by account and hour, wherever it was: it is held against
-- what metering has.
CREATE INDEX traffic_total_account ON traffic_total (s3uid, hour);
