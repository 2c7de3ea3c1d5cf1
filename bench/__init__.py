"""The benchmark: what the relay does on one machine, each figure beside its ceiling or its rival.

``python -m bench`` runs it on real servers with fsync on; docs/operations/benchmarks.md says how each figure is taken.
"""
