-- What lists of many show of each subscription, so that its row need not be read. A period that
-- ends changes none of it.
CREATE INDEX subscription_brief ON subscription (provider, service_id, customer_id, s3uid, state,
    currency, anchor_time, end_time, cancel_time, plan_id, plan_version);
