"""What can be seen of how an answer is written, whatever it says; edits that add or remove that."""
