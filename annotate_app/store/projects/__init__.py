"""Projects, rubrics and their comparisons."""
