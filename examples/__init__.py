"""Two small systems on the relay and its projections, each one command: `examples.telemetry`, `examples.orders`."""
