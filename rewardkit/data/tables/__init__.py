"""Rows in the bytes of a file: lines, JSON, CSV, cells that hold lists; nothing of what the rows mean."""
