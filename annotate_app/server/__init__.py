"""The launcher, the door and the routes beside the pages."""
