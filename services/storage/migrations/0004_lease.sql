-- Belongs to stowage-db: which replica does a piece of work, until when.
CREATE TABLE lease (
    name text PRIMARY KEY,
    owner uuid NOT NULL,
    until timestamptz NOT NULL
);
