-- History becomes the audit: who was acted for and by which call, and a chain per customer. What
-- these mean: `src/domain/audit.rs`.
ALTER TABLE history ADD COLUMN acted_for bigint NOT NULL DEFAULT 0;
ALTER TABLE history ADD COLUMN request_id text NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN minor boolean NOT NULL DEFAULT false;
ALTER TABLE history ADD COLUMN encoding bigint NOT NULL DEFAULT 0;
-- Absent only in entries of before, until the next start has chained them.
ALTER TABLE history ADD COLUMN sequence bigint;
ALTER TABLE history ADD COLUMN hash bytea CHECK (length(hash) = 32);
CREATE UNIQUE INDEX history_in_chain ON history (customer_id, sequence);

-- Listings of changes leave more out than readings of keys now.
DROP INDEX history_changes_of_customer;
DROP INDEX history_changes_of_plan;
DROP INDEX history_changes_of_account;
CREATE INDEX history_changes_of_customer ON history (customer_id, id) WHERE NOT minor;
CREATE INDEX history_changes_of_plan ON history (plan_id, id) WHERE NOT minor;
CREATE INDEX history_changes_of_account ON history (s3uid, id) WHERE NOT minor;

-- The head of each chain. Whoever adds an entry updates its row first, and so holds it.
CREATE TABLE audit_chain (
    customer_id bigint PRIMARY KEY,
    sequence bigint NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32)
);

-- Entries that were there before their chains: how far they are chained, and the last of them.
-- Gone once all are.
CREATE TABLE audit_backfill (done_id bigint NOT NULL, last_id bigint NOT NULL);
INSERT INTO audit_backfill (done_id, last_id) SELECT 0, COALESCE(MAX(id), 0) FROM history;
