"""The follow-up register of flagged persons."""
