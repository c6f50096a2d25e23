"""The application: people, rights, decisions, evidence."""
