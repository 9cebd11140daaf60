"""Judges: what looks at clips for a metric. One judge a file; ``shelf`` hands them out."""
