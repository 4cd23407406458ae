"""Packed rows with shared prompts, attention, Llama trunks, log-probabilities and tokenizers."""
