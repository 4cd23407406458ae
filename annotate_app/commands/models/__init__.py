"""Commands about models: trainings, and what to label next."""
