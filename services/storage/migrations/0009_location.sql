-- Locations that are added, drained and removed while all is served. `state` stays what the
-- configuration says; whoever asks whether a location takes orders looks at all three.
ALTER TABLE location ADD COLUMN origin text NOT NULL DEFAULT 'CONFIGURED' CHECK (origin IN ('CONFIGURED', 'ADDED'));
-- By an administrator. It stays over restarts.
ALTER TABLE location ADD COLUMN drained boolean NOT NULL DEFAULT false;
-- When it was removed; absent: it was not. Its row stays: tombstones of accounts refer to it.
ALTER TABLE location ADD COLUMN remove_time timestamptz;
-- How its engine is reached, sealed; absent: as it is configured.
ALTER TABLE location ADD COLUMN settings bytea;
-- Counts changes of the settings, so that processes see that they have old ones open.
ALTER TABLE location ADD COLUMN generation bigint NOT NULL DEFAULT 0;
