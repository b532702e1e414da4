"""xarray backend and dask-native arrays for Nikon .nd2 files."""
