-- Whether there is a publication $1.
SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)
