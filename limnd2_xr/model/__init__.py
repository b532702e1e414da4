"""The metadata of a file as frozen dataclasses; no I/O."""
