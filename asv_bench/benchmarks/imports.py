"""What importing costs: every xarray session pays for the entry point."""


class Import:
    """asv runs the returned code in a fresh interpreter."""

    def timeraw_package(self) -> str:
        return "import limnd2_xr"

    def timeraw_entry_point(self) -> str:
        return "import limnd2_xr.xarray_plugin"

    def timeraw_open_dataset_function(self) -> str:
        return "import limnd2_xr.arrays.dataset"

    def timeraw_xarray_alone(self) -> str:
        return "import xarray"

    def timeraw_engines(self) -> str:
        return "import xarray; xarray.backends.list_engines()"
