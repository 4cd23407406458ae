"""How good a reward model is and how sure: baselines, out of domain, RewardBench, the report."""
