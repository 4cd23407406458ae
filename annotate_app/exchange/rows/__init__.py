"""The rows of an export: what a row holds, by form."""
