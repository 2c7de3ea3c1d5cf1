-- Which server process serves this connection: behind a pooler it is not the one that the login named.
SELECT pg_backend_pid()
