"""What completions are worth: reward models, functions, servers and verifiers by name."""
