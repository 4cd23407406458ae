"""Which way of aligning a policy to take on given GPUs: does it fit, how long, what it costs, what goes wrong."""
