"""JOBS: types for type checkers, see `limnd2_xr.compat.nd2.jobs.types`."""
