"""Training of reward models: objectives, ensembles and the merging of members."""
