"""Data in and out: files, whole projects, the hub."""
