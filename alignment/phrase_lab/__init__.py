"""Over-optimisation in a world of bags of phrases, where the policy that a KL holds is known in closed form."""
