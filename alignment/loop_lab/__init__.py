"""Turns of choose, label, learn and align in a world of known gold reward, and other ways to spend the same labels."""
