"""Encryption at rest: keys, the vault that seals and opens, encrypted files, and rotation."""
