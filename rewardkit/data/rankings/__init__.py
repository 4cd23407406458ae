"""Rankings of several completions of one prompt: the noun, and the rows of files that hold it."""
