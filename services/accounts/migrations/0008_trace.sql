-- Belongs to stowage-bus, which says what it means: the trace an event is part of.
ALTER TABLE outbox ADD COLUMN traceparent text;
ALTER TABLE outbox ADD COLUMN tracestate text;
-- Belongs to stowage-saga. The trace of the call that began a saga.
ALTER TABLE saga ADD COLUMN traceparent text;
ALTER TABLE saga ADD COLUMN tracestate text;
