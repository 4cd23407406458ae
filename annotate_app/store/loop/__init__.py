"""The SQL of the loop: judges and their votes, turns, blind rounds, names of runs."""
