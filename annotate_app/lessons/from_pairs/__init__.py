"""Lessons on policies that learn from pairs."""
