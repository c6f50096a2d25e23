"""Portraits in, candidates out: the library behind OnePerson.

Knows no HTTP, no SQL and no settings; everything it needs is passed in.
"""
