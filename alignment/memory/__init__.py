"""What a training takes in memory, from a configuration alone."""
