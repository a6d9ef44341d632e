-- Code of a location and what its engine calls who became the account there; absent: it was made.
ALTER TABLE account ADD COLUMN adopted_from text;
CREATE UNIQUE INDEX account_adopted ON account (adopted_from) WHERE adopted_from IS NOT NULL AND state NOT IN ('FAILED', 'DELETED');
