"""One page a file. A page reads state, draws, and calls one function per button."""
