"""Exercises of textbooks in small worlds of features, each with the answer that is expected; no torch."""
