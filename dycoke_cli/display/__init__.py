"""What people and scripts see of a run. Knows no torch."""
