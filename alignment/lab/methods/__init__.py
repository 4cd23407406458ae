"""Ways of aligning a policy side by side, where gold is known: their runs, their rows, and both for people."""
