-- The tables every role's first migration holds, and one that stands for a consumer's effect.
CREATE TABLE sequence (name text PRIMARY KEY, value bigint NOT NULL);
CREATE TABLE outbox (position bigint PRIMARY KEY, id uuid NOT NULL UNIQUE, source text NOT NULL, type text NOT NULL, subject text NOT NULL, time timestamptz NOT NULL, data bytea NOT NULL, attempts bigint NOT NULL DEFAULT 0, dead boolean NOT NULL DEFAULT false);
CREATE TABLE inbox (consumer text NOT NULL, source text NOT NULL, id uuid NOT NULL, time timestamptz NOT NULL, PRIMARY KEY (consumer, source, id));
CREATE TABLE effect (position bigint PRIMARY KEY, subject text NOT NULL, number bigint NOT NULL);
CREATE TABLE lease (name text PRIMARY KEY, owner uuid NOT NULL, until timestamptz NOT NULL);
