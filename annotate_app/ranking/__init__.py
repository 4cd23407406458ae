"""Models ranked by votes."""
