"""Training on given rows: SFT, DPO and KTO."""
