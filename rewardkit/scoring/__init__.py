"""Scoring of files, and which comparisons to label next."""
