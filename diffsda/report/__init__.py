"""Figures and the page of a run."""
