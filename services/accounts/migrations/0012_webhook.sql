-- Events on their way to receivers of webhooks, and those that were delivered or failed lately.
CREATE TABLE webhook_delivery (
    -- Sorts by time.
    delivery_id uuid PRIMARY KEY,
    -- Name of the receiver in the configuration.
    webhook text NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    subject text NOT NULL,
    -- JSON, as it is sent.
    body text NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts bigint NOT NULL DEFAULT 0,
    -- Status of the last attempt; 0: no answer, or no attempt yet.
    last_status bigint NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL,
    -- When it is sent next, and until when it is tried.
    next_attempt_time timestamptz NOT NULL,
    give_up_time timestamptz NOT NULL,
    last_attempt_time timestamptz,
    end_time timestamptz
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook, next_attempt_time)
    WHERE state = 'waiting';
CREATE INDEX webhook_delivery_ended ON webhook_delivery (end_time) WHERE state <> 'waiting';
