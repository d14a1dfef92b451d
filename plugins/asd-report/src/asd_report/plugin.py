"""What the distribution offers, as data."""
