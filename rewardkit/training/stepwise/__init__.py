"""Training of process reward models: answers in steps, each with the probability that it is right."""
