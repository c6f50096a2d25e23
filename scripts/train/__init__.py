"""Trains a model pack of one's own; needs `requirements.txt` beside it, which the service never does."""
