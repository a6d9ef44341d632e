-- Whether an account that is held since an invoice is unpaid may still be read.
ALTER TABLE account ADD COLUMN read_only boolean NOT NULL DEFAULT false;
-- When its subscription ends since an invoice is unpaid to the last; absent: it does not.
ALTER TABLE account ADD COLUMN unpaid_end_time timestamptz;
CREATE INDEX account_unpaid_due ON account (unpaid_end_time) WHERE state = 'ACTIVE';
-- What billing said last of its unpaid invoices; empty: nothing is overdue.
ALTER TABLE account ADD COLUMN dunning_stage text NOT NULL DEFAULT ''
    CHECK (dunning_stage IN ('', 'REMINDER', 'READ_ONLY', 'SUSPENDED', 'ENDED'));
-- Number of the event that said so. One with a lower number is out of date.
ALTER TABLE account ADD COLUMN dunning_sequence bigint NOT NULL DEFAULT 0;
