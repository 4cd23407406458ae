"""Lessons in small worlds whose truth is known: answers can be counted, and what a method makes of them is computed."""
