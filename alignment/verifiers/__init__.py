"""Checks that a program can do."""
