"""A step's completions: drawn by our own loops or by vLLM, collected and written."""
