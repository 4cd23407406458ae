"""Parts of the page Advisor."""
