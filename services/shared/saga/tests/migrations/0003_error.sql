-- Belongs to stowage-saga. Why the last attempt failed; absent once one succeeds.
ALTER TABLE saga ADD COLUMN attempt_error text;
