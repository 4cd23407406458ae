"""Training on own samples: GRPO, PPO and online DPO."""
