"""Experiments in a world of known gold reward."""
