"""Answers in steps: what one is, and the rows that hold them."""
