"""Preference data, Bradley-Terry reward models, ensembles and uncertainty: the ground floor."""
