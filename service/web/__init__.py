"""Pages for officers."""
