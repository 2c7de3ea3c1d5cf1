-- Ring on channel $1.
SELECT pg_notify($1, 'doctor')
