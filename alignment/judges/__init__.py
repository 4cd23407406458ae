"""What judges answers in place of people: endpoints, local models, reward models, functions."""
