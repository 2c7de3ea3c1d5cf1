"""The flags that stand for a setting, for the command line and for the place of a fault."""

FLAGS = {
    "--dsn-file": "postgres.dsn_file",
    "--table": "postgres.table",
    "--server": "nats.servers",
    "--creds-file": "nats.creds_file",
    "--http-port": "http.port",
    "--console-port": "console.port",
    "--log-format": "log.format",
    "--log-level": "log.level",
}

# Those of `relay projection run`.
PROJECTION_FLAGS = {**FLAGS, "--http-port": "projection_http.port"}
