"""Reward models as they are saved and loaded: ensembles, criteria, and a policy as reward model."""
