"""Commands about people: accounts, invitations, pay, crowd links, groups, tokens."""
