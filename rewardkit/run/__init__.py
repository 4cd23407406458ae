"""The run directory, progress, interruption and the command line: what every command shares."""
