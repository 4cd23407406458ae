"""The HTTP API: what programs do with a token, under the rights of its person; no rights of its own."""
