-- Which batches of counts of metering fronts are written: a writer who does not know whether he has
-- written one writes it again, and it counts once. One row for each start of a process and location.
CREATE TABLE front_process (
    process uuid PRIMARY KEY,
    location text NOT NULL,
    -- Of the last batch.
    sequence bigint NOT NULL,
    update_time timestamptz NOT NULL
);
CREATE INDEX front_process_by_time ON front_process (update_time);
