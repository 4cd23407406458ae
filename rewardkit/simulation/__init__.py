"""A world of known gold reward, and annotators of known reliability."""
