"""The desk behind the browser: what a pair looks like, and what comes back."""
