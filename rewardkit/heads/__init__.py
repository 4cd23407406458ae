"""Bradley-Terry heads fitted to convergence, their posteriors, and the reliability of annotators."""
