-- What ended earlier owners was passed without harm. By primary key; at most once for each claim.
UPDATE projection.state SET crashes = 0 WHERE name = $1 AND generation = $2 AND partition = $3 AND epoch = $4
