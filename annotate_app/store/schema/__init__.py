"""The tables of the database; `everything` holds them all."""
