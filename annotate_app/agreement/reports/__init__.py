"""Reports of agreement: of a project, of groups of people, of what stands beside people; and their words and files."""
