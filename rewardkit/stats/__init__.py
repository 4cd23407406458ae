"""Metrics with intervals, calibration and uncertainty, on numpy alone."""
