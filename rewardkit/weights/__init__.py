"""How weights are held: their number format, where they lie between uses, and how a step is rounded into them."""
