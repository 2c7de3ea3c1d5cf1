-- The class of the failure that last_error tells, so that nobody has to read it out of the sentence. In no index, without
-- a default and without a check: a mark costs what it did, and the table is not read to add it.
--
-- A relay that does not know the column leaves in it what stood there before: while two releases work side by side, an
-- event that the older one refused may show the class of an earlier failure.
-- Oldest relay: 8
ALTER TABLE outbox_events ADD COLUMN failure_class text;

COMMENT ON COLUMN outbox_events.failure_class IS 'Class of the failure in last_error: outage, capacity, configuration, poison or unknown; null: none, or written before this column';
