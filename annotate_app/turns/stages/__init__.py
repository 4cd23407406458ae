"""The stages of a turn and the wheel that takes them in their order."""
