-- The greatest id, by its bytes, under which a source has told a fact: what is greater is new, and
-- need not be looked for. Absent: not known, since the source is older than this column, or was
-- forgotten before its facts.
ALTER TABLE fact_source ADD COLUMN id_max text;
