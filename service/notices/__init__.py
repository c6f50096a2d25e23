"""What other systems and authorities are told."""
