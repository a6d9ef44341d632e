-- What an account may use at most before it can only be read; 0: no cap.
ALTER TABLE plan_version ADD COLUMN storage_cap_gb bigint NOT NULL DEFAULT 0
    CHECK (storage_cap_gb >= 0);
ALTER TABLE plan_version ADD COLUMN traffic_cap_gb bigint NOT NULL DEFAULT 0
    CHECK (traffic_cap_gb >= 0);

-- Counts the changes of what a subscription's account may use, and how far metering was told of
-- them. Those of before are told now.
ALTER TABLE subscription ADD COLUMN limits_version bigint NOT NULL DEFAULT 0;
ALTER TABLE subscription ADD COLUMN limits_told bigint NOT NULL DEFAULT 0;
UPDATE subscription SET limits_version = 1 WHERE state = 'active';
CREATE INDEX subscription_limits_untold ON subscription (order_key)
    WHERE limits_version > limits_told;
