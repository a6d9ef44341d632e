-- How far an announced invoice has come. What was announced before there were stages meant that its
-- account was to be suspended.
ALTER TABLE dunning ADD COLUMN stage text NOT NULL DEFAULT 'SUSPENDED'
    CHECK (stage IN ('REMINDER', 'READ_ONLY', 'SUSPENDED', 'ENDED'));
-- How many reminders were announced, where it has come no further.
ALTER TABLE dunning ADD COLUMN reminder bigint NOT NULL DEFAULT 0;
-- Number of the last event about the account's invoices.
ALTER TABLE dunning_account ADD COLUMN sequence bigint NOT NULL DEFAULT 0;
