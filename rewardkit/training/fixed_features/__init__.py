"""Heads fitted on features that stay as they are."""
