"""Judges: annotators that are no people, asked by a rubric, measured against people."""
