"""From the Train page to runs."""
