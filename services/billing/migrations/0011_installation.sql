-- Which installation of its provider an order is with, by its name; empty: the only or first one.
ALTER TABLE subscription ADD COLUMN installation text NOT NULL DEFAULT '';
