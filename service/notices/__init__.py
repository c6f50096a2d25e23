"""Outgoing notices: what other systems and authorities are told to do."""
