"""Tests of what the benchmark computes."""
