"""Backups of a running installation in one encrypted file, and their restoration."""
