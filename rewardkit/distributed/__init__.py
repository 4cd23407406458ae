"""Processes that train together: collectives, FSDP2, the optimizer and checkpoints."""
