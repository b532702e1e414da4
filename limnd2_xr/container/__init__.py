"""Bytes of an .nd2 file: sources, chunk headers, the chunk map."""
