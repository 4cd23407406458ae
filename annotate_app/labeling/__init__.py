"""The server's side of labeling: what is sent to the browser and how its messages are read."""
