-- Which projections have parked the event of seq $1 and origin $2, and why. At most a few thousand rows are ever parked.
SELECT name, number, coalesce(reason, 'waits behind an earlier event of its key')
FROM projection.parked WHERE seq = $1 AND origin IN ($2, '') ORDER BY name
