-- Writes the bits of a chunk as they are after a batch. The owner is the only writer, and its move has fenced it.
-- By primary key, about 1 KiB; heap-only, because no index covers what changes.
INSERT INTO projection.applied (name, generation, partition, origin, chunk, bits, newest)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (name, generation, partition, origin, chunk) DO UPDATE SET bits = excluded.bits, newest = excluded.newest
