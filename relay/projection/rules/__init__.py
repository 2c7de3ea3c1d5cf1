"""What a projection decides, without I/O: repeats, the stream's identity, refusals, and the order within a batch."""
