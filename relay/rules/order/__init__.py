"""Keeps the order: of a key, and of seqs that appear late."""
