"""One module for each group of commands; the command line does everything that the pages do."""
