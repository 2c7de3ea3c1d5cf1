"""Read models kept from the stream: each event exactly once, each key in its order."""
