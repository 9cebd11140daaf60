"""Videos: indexed and re-encoded once, then decoded while a model trains."""
