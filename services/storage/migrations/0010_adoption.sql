-- Traffic of hours before this one is not metered: the account was somebody else's then.
ALTER TABLE account ADD COLUMN count_from timestamptz;
