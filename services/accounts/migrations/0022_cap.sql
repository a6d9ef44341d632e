-- The cap of its plan that an account has come to, as metering said last; empty: none.
ALTER TABLE account ADD COLUMN cap text NOT NULL DEFAULT '' CHECK (cap IN ('', 'STORAGE', 'TRAFFIC'));
-- Number of the event that said so. One with a lower number is out of date.
ALTER TABLE account ADD COLUMN cap_sequence bigint NOT NULL DEFAULT 0;
