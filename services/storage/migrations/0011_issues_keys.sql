-- Whether the engine of a location makes access keys by itself. A start says it of those that are configured.
ALTER TABLE location ADD COLUMN issues_keys boolean NOT NULL DEFAULT false;
UPDATE location SET issues_keys = true WHERE engine = 'aws';
