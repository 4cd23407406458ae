"""SFT, the DPO family, PPO and GRPO against rewards that know how sure they are; stands on rewardkit."""
