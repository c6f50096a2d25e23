"""Walks through picture files without decoding a pixel.

One module per format checks the structure, applies the limits as soon as the
size is known, and hands on a clean body: only what the pixels need, ending
where the picture ends. No metadata, second picture or trailing matter ever
reaches the decoder.
"""
