"""Work that runs as processes of its own."""
