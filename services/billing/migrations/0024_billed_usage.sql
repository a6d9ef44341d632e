-- What an account was billed by is held against what metering and its engine have of it.
CREATE INDEX subscription_account ON subscription (s3uid);
