"""Images of prompts and responses: what is taken, how texts name them, and where rows of a file hold them."""
