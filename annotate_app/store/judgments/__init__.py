"""Judgments as they are read, imported and simulated."""
