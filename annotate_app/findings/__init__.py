"""What runs found: their configuration, their scores of a project's pairs, held against each other and people."""
