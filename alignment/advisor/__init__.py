"""Which way of aligning a policy to take on the hardware at hand: does it fit, how long, what it costs, what goes wrong."""
