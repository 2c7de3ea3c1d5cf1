-- When the transaction of this statement began, Unix seconds: what `now()` is in all of its statements.
SELECT date_part('epoch', now())
