"""Views about people: first steps, invitations, readings, crowd, tokens, webhooks."""
