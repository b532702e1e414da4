"""Facades with the names of other packages that read and write .nd2 files."""
