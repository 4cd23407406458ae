"""Agreement on answers that are more than a choice: rankings and marked words."""
