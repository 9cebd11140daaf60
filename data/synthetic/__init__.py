"""Sequences made on the fly, with their factors known."""
