"""The monthly table, live and closed."""
