"""Cases and the decisions of officers."""
