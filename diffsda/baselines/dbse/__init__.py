"""DBSE: the static code from a single element, its features taken off all the others."""
