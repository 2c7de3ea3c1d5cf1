-- The parked events of every key of which an operator wants something, in their order; of each key the earliest first.
SELECT number, stream_seq, time_ns, subject, key, headers::text, payload, reason, wanted
FROM projection.parked p
WHERE name = $1 AND generation = $2 AND partition = $3
  AND EXISTS (
      SELECT FROM projection.parked w
      WHERE w.name = $1 AND w.generation = $2 AND w.partition = $3 AND w.wanted IS NOT NULL
        AND (w.number = p.number OR w.key = p.key)
  )
ORDER BY number
