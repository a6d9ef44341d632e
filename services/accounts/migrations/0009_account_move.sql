-- The move of an account to another location that has not ended; it is confirmed or cancelled.
ALTER TABLE account ADD COLUMN move_id uuid;
-- Code of the location that it goes to; absent: it is there.
ALTER TABLE account ADD COLUMN move_to text;
-- Whether nothing of the account changes, since both sides are compared.
ALTER TABLE account ADD COLUMN frozen boolean NOT NULL DEFAULT false;
CREATE INDEX account_moving ON account (s3uid) WHERE move_to IS NOT NULL;
