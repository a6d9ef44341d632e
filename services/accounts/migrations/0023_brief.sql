-- What lists of many show of each account, so that its row need not be read.
CREATE INDEX account_brief ON account
    (s3uid, account_id, customer_id, state, hold, read_only, service_id);
