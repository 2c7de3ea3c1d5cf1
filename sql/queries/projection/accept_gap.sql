-- Moves the position behind a gap that the projection has stopped at. What lay in it is missing from the model.
UPDATE projection.state
SET position = gap_last, position_time_ns = NULL, stream_created = NULL, gap_last = NULL, epoch = epoch + 1
WHERE name = $1 AND gap_last IS NOT NULL AND status = 'stopped'
