"""What people are asked: rubrics, shipped protocols, assignment and leases."""
