"""Stored images: where they are, which bytes to read, how to decode them."""
