"""The front door: labeling pages, the store, assignment, agreement, adjudication and export."""
