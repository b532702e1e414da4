"""xarray objects over frames; xarray and dask live here and above."""
