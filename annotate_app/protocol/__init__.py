"""Rubrics, shipped protocols, assignment, and the types of leases."""
