"""A policy beside its base."""
