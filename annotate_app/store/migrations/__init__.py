"""Alembic's environment. A change of `tables.py` is a new file under `versions`."""
