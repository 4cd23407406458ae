"""Monte-Carlo labels of steps: how often what a policy makes of a step ends right."""
