"""The nouns, files and the forms their rows take, and what a training reads."""
