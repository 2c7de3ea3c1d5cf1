"""The names and addresses of this machine that only itself can reach."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
