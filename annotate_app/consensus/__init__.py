"""From votes to released rows."""
