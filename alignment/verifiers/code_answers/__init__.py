"""Answers in code, run against their tests behind walls."""
