"""Projections whose read model is in Redis or Valkey: a batch a script, and what is written down moves with it.

The rules are those of PostgreSQL (`relay.projection.ports`). What differs: Redis rolls nothing back, so a batch that
must stop halfway stays applied up to there, and the position says so. A server that loses its last second loses model
and position alike, and both are made again.
"""
