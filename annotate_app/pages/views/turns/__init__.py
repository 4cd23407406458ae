"""What the page Loop is made of."""
