-- Belongs to stowage-saga. For operators' listings and the gauge of stuck sagas.
CREATE INDEX saga_stuck ON saga (kind, id) WHERE status = 'stuck';
