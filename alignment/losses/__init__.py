"""One pure function a loss, on tensors alone."""
