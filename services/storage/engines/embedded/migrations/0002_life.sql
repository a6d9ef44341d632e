-- A suspended account keeps its data; none of its keys opens anything.
ALTER TABLE account ADD COLUMN suspended boolean NOT NULL DEFAULT false;

-- When a request signed by the key was last let in, as far as it has been written down.
ALTER TABLE access_key ADD COLUMN last_use_time timestamptz;
