-- A customer keeps his currency, so that his accounts can have it, too: lists of many read no
-- customer.
ALTER TABLE account ADD COLUMN currency text NOT NULL DEFAULT '';
UPDATE account SET currency =
    (SELECT c.currency FROM customer c WHERE c.customer_id = account.customer_id);
DROP INDEX account_brief;
CREATE INDEX account_brief ON account
    (s3uid, account_id, customer_id, currency, state, hold, read_only, service_id);
