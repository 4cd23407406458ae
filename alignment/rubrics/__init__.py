"""Rubrics and checklists as rewards: what is asked, who grades, what the grades are worth."""
