-- Whether the customer of a read-only account may delete what is in it.
ALTER TABLE account ADD COLUMN may_delete boolean NOT NULL DEFAULT false;
