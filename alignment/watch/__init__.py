"""What goes wrong in a run, in words."""
