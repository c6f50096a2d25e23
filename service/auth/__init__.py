"""API keys, officers and what each may do."""
