-- Belongs to stowage-saga. The trace of the call that began a saga.
ALTER TABLE saga ADD COLUMN traceparent text;
ALTER TABLE saga ADD COLUMN tracestate text;
