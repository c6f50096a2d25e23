"""Checks: one transaction, one search, one instruction."""
