"""One room a file: the command line does everything that the pages do."""
