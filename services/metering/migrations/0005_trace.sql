-- Belongs to stowage-bus, which says what it means: the trace an event is part of.
ALTER TABLE outbox ADD COLUMN traceparent text;
ALTER TABLE outbox ADD COLUMN tracestate text;
