"""Shared by all pages: the session, feedback on buttons, and links."""
