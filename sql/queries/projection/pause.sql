-- Fences the owner with its next move or beat, and keeps everyone from claiming.
UPDATE projection.state SET paused = true WHERE name = $1
