"""Accounts, invitations, memberships and sign-in."""
