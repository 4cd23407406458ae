"""Principles that a judge criticises, revises and compares answers by, and the rows that come of it."""
