"""Handing out comparisons and taking judgments."""
