-- A read-only account is read and not written.
ALTER TABLE account ADD COLUMN read_only boolean NOT NULL DEFAULT false;
ALTER TABLE account ADD COLUMN quota_objects bigint;

-- What a bucket may store beside its account's bounds. Parts of unfinished uploads count.
ALTER TABLE bucket ADD COLUMN quota_bytes bigint;
ALTER TABLE bucket ADD COLUMN quota_objects bigint;
ALTER TABLE bucket ADD COLUMN unfinished_bytes bigint NOT NULL DEFAULT 0;
UPDATE bucket SET unfinished_bytes = coalesce((
    SELECT sum(part.size_bytes) FROM part JOIN upload ON upload.id = part.upload
    WHERE upload.bucket_id = bucket.id
), 0);
