"""Lessons that run: a text, sliders, figures from our own functions, a question whose answer is computed."""
