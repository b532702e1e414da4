"""The names of ``limnd2`` on this package's reader and writer."""
