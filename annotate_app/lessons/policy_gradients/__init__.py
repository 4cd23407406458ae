"""Lessons on policies that learn from their own samples."""
