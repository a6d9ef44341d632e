-- What an account may use, as billing told it last; 0: no such limit.
CREATE TABLE limits (
    s3uid text PRIMARY KEY,
    customer_id bigint NOT NULL,
    -- Of what billing told: what comes with a lower one is out of date.
    sequence bigint NOT NULL,
    quota_bytes bigint NOT NULL CHECK (quota_bytes >= 0),
    included_storage_bytes bigint NOT NULL CHECK (included_storage_bytes >= 0),
    included_traffic_bytes bigint NOT NULL CHECK (included_traffic_bytes >= 0),
    storage_cap_bytes bigint NOT NULL CHECK (storage_cap_bytes >= 0),
    traffic_cap_bytes bigint NOT NULL CHECK (traffic_cap_bytes >= 0),
    -- When its first period began; absent: its subscription has ended, and no limit holds.
    anchor_time timestamptz,
    period_months bigint NOT NULL CHECK (period_months >= 1),
    -- The cap that is reached, as in the contract: 4 of storage, 5 of traffic; 0: none.
    cap bigint NOT NULL DEFAULT 0 CHECK (cap IN (0, 4, 5)),
    cap_time timestamptz,
    -- When it ends by itself: with the period, if it is of traffic.
    cap_end_time timestamptz,
    -- Counts the changes of the cap.
    cap_sequence bigint NOT NULL DEFAULT 0
);
CREATE INDEX limits_cap_end ON limits (cap_end_time) WHERE cap_end_time IS NOT NULL;

-- Alerts that were raised: one for each limit, share and period.
CREATE TABLE alert (
    s3uid text NOT NULL,
    kind bigint NOT NULL,
    period_start_time timestamptz NOT NULL,
    percent bigint NOT NULL,
    limit_bytes bigint NOT NULL,
    -- Their order.
    alert_id bigint NOT NULL UNIQUE,
    customer_id bigint NOT NULL,
    used_bytes bigint NOT NULL,
    period_end_time timestamptz NOT NULL,
    raise_time timestamptz NOT NULL,
    PRIMARY KEY (s3uid, kind, period_start_time, percent, limit_bytes)
);
CREATE INDEX alert_customer ON alert (customer_id, alert_id);
CREATE INDEX alert_age ON alert (raise_time);

-- Whether an account may have limits, and whether it has facts that were not held against them.
ALTER TABLE account ADD COLUMN is_limited boolean NOT NULL DEFAULT true;
ALTER TABLE account ADD COLUMN is_unchecked boolean NOT NULL DEFAULT true;
CREATE INDEX account_unchecked ON account (s3uid) WHERE is_unchecked;
