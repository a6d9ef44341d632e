-- Belongs to stowage-bus: events that a consumer of this role refused for good.
CREATE TABLE dead_letter (
    id uuid PRIMARY KEY,
    consumer text NOT NULL,
    -- The event, as in the outbox.
    event_id uuid NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    time timestamptz NOT NULL,
    data bytea NOT NULL,
    -- waiting, or taken by a later attempt.
    status text NOT NULL CHECK (status IN ('waiting', 'taken')),
    -- Why the last attempt failed, and how many there were.
    reason text NOT NULL,
    attempts bigint NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    UNIQUE (consumer, source, event_id)
);
CREATE INDEX dead_letter_waiting ON dead_letter (consumer, id) WHERE status = 'waiting';
CREATE INDEX dead_letter_taken ON dead_letter (update_time) WHERE status = 'taken';
