-- Most key pairs that work at the same time, as the plan says.
ALTER TABLE account ADD COLUMN key_max bigint NOT NULL DEFAULT 2 CHECK (key_max >= 1);
