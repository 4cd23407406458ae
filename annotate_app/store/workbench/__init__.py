"""The lead's workbench: filters over comparisons, what is done to all of a view, saved views, assignments."""
