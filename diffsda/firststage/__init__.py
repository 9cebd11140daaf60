"""What stands between raw clips and the arrays the model sees."""
