"""Sound: files, resampling, mel features, and the speech sets of the paper."""
