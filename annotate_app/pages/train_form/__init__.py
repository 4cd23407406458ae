"""The parts of the training form."""
