-- Parts of the price that cost nothing on purpose where not all of the plan is free, with commas
-- between them: `period`, `storage_overage`, `traffic_overage`.
ALTER TABLE plan_version ADD COLUMN free_parts text NOT NULL DEFAULT '';
-- Most key pairs of an account that work at the same time.
ALTER TABLE plan_version ADD COLUMN key_max bigint NOT NULL DEFAULT 2 CHECK (key_max >= 1);
