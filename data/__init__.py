"""Clips: arrays people bring, data shipped here, data made on the fly."""
