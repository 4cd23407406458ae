"""What a reward has learned to pay for: people, a reward model and a policy, trait by trait."""
