-- A version of a plan may be made now and hold from later. Those there were held when they were made.
ALTER TABLE plan_version
    ADD COLUMN effective_time timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00.000000Z';
UPDATE plan_version SET effective_time = create_time;
