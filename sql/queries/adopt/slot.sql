-- How far the reader of a slot has confirmed, against a position; no row if there is no such slot.
SELECT confirmed_flush_lsn >= $2::pg_lsn, active FROM pg_replication_slots WHERE slot_name = $1
