"""The policy: its model, token rows, forward pass and reference."""
