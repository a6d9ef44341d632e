-- Whether the account is read and not changed. One that is suspended too is suspended.
ALTER TABLE account ADD COLUMN read_only boolean NOT NULL DEFAULT false;
