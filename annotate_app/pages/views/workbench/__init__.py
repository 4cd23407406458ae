"""Parts of the page Comparisons: the filter, the list, one comparison, actions on all of a view."""
