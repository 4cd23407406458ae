"""Lessons on votes, and on the reward models that are learned from them."""
