-- Requests that were refused (4xx). Not among the others, and charged to nobody.
ALTER TABLE traffic ADD COLUMN refused_requests bigint NOT NULL DEFAULT 0;
