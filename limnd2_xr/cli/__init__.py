"""The `limnd2-xr` command."""
