-- Moves the position behind a gap that the projection has stopped at. What lay in it is missing from the model: its first
-- and last sequence are returned for the audit.
UPDATE projection.state s
SET position = s.gap_last, position_time_ns = NULL, stream_created = NULL, gap_last = NULL, epoch = s.epoch + 1
FROM projection.state before
WHERE s.name = $1 AND s.gap_last IS NOT NULL AND s.status = 'stopped'
  AND (before.name, before.generation, before.partition) = (s.name, s.generation, s.partition)
RETURNING before.position + 1, before.gap_last
