"""From a folder of one's own files to a prepared set and a recipe to start from."""
