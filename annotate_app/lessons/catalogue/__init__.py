"""Which lessons there are and their order, and each as a notebook."""
