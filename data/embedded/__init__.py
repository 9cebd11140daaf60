"""Small real data shipped with the package."""
