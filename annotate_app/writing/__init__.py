"""Answers of the project's policies to one prompt, side by side, and on into the project as pairs to judge."""
