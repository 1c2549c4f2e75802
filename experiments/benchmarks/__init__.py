"""What things cost: each script prints a table."""
