"""Charts of figures and of training curves."""
