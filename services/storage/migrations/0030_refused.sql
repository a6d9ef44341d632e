-- Requests that an engine refused, of whoever sent them: told apart, and charged to nobody.
ALTER TABLE traffic_total ADD COLUMN refused_requests bigint NOT NULL DEFAULT 0;
