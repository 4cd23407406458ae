"""The best of n completions, and what it would earn."""
