-- The newest $1 dead letters by the first words of their reason, the most frequent first. What differs from row to
-- row is taken out: text in quotes after a colon, and numbers but for codes in brackets. Partial index on dead_at.
SELECT left(regexp_replace(regexp_replace(coalesce(d.last_error, 'no reason given'), ': [''"].*', ''),
                           '\d+(?!\d*\))', 'N', 'g'), 100),
       count(*)
FROM (
    SELECT e.last_error
    FROM outbox_events e
    WHERE e.dead_at IS NOT NULL
      AND e.discarded_at IS NULL
      AND e.delivered_at IS NULL
    ORDER BY e.dead_at DESC
    LIMIT $1
) d
GROUP BY 1
ORDER BY 2 DESC, 1
