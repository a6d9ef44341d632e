-- Counts the changes of a subscription's plan, and how far the provider was told of them. Those of
-- before are told now: a provider that renews by itself has gone on at the old price.
ALTER TABLE subscription ADD COLUMN plan_changes bigint NOT NULL DEFAULT 0;
ALTER TABLE subscription ADD COLUMN plan_changes_told bigint NOT NULL DEFAULT 0;
UPDATE subscription SET plan_changes = 1
WHERE order_key IN (SELECT order_key FROM plan_change);
