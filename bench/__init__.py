"""Benchmarks: one file a subject; records/ holds what came out."""
