"""The entry point by which xarray finds this package.

xarray imports this module in every session that lists its engines, so it imports
nothing heavy: the rest is loaded when a file is opened.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from xarray.backends import BackendEntrypoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

__all__ = ["Nd2BackendEntrypoint"]

MAGIC = b"\xda\xce\xbe\x0a"
"""How .nd2 files begin since version 2 (FORMAT 0.2).

Those of version 1 begin as every JPEG 2000 file does: only their suffix tells them.
"""


def _has_magic(path: str) -> bool:
    """Look at the first bytes of a local file; a URL is not fetched for this."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - as below
            return False
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would mend URLs to paths
            return file.read(8).startswith(MAGIC)
    except (OSError, ValueError):
        return False


class Nd2BackendEntrypoint(BackendEntrypoint):
    """Open Nikon .nd2 files: ``xr.open_dataset("cells.nd2")``."""

    description: ClassVar[str] = "Open Nikon .nd2 microscope files"
    url: ClassVar[str] = "https://pypi.org/project/limnd2-xr/"
    supports_groups: ClassVar[bool] = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Say whether a file is an .nd2 by its suffix or its first bytes; never raise."""
        if isinstance(filename_or_obj, str | os.PathLike):
            name = str(filename_or_obj)
            return name.split("?", 1)[0].lower().endswith(".nd2") or _has_magic(name)
        if isinstance(filename_or_obj, bytes | bytearray | memoryview):
            return bytes(filename_or_obj[:8]).startswith(MAGIC)
        try:
            before = filename_or_obj.tell()
            filename_or_obj.seek(0)
            head = filename_or_obj.read(8)
            filename_or_obj.seek(before)
        except Exception:  # noqa: BLE001 - whatever it is, it is not for us
            return False
        return isinstance(head, bytes) and head.startswith(MAGIC)

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        storage_options: dict[str, Any] | None = None,
        full_dims: bool = False,
        missing: Literal["fill", "raise"] = "fill",
        on_damage: Literal["raise", "warn", "ignore"] = "warn",
    ) -> xr.Dataset:
        """Return the image and its coordinates as a lazy dataset; reads metadata only.

        Parameters
        ----------
        filename_or_obj
            Path, URL, bytes or binary file object.
        drop_variables
            Names of variables and coordinates to leave out.
        storage_options
            For a URL: arguments of its fsspec filesystem.
        full_dims
            Give the image all of T, P, Z, C, Y and X, with length 1 where the file has
            no such loop.
        missing
            ``"fill"`` reads frames that the file lacks as 0 and counts them as damage,
            ``"raise"`` makes them an error, whatever `on_damage` says.
        on_damage
            What to do about a damaged file that can be opened nevertheless: ``"warn"``
            gives one `Nd2Warning` that tells of all that is damaged or lost,
            ``"raise"`` makes it an error, ``"ignore"`` says nothing.
            ``ds.nd2.damage`` has the same as texts.
        """
        from limnd2_xr.arrays.dataset import open_dataset

        return open_dataset(
            filename_or_obj,
            drop_variables=drop_variables,
            storage_options=storage_options,
            full_dims=full_dims,
            missing=missing,
            on_damage=on_damage,
        )

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        storage_options: dict[str, Any] | None = None,
        full_dims: bool = False,
        missing: Literal["fill", "raise"] = "fill",
        on_damage: Literal["raise", "warn", "ignore"] = "warn",
    ) -> dict[str, xr.Dataset]:
        """Return the datasets of a file by group path: the image at the root, then the rest.

        Parameters
        ----------
        filename_or_obj, drop_variables, storage_options, full_dims, missing, on_damage
            As for `open_dataset`.
        """
        from limnd2_xr.arrays.groups import open_groups

        return open_groups(
            filename_or_obj,
            drop_variables=drop_variables,
            storage_options=storage_options,
            full_dims=full_dims,
            missing=missing,
            on_damage=on_damage,
        )

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        storage_options: dict[str, Any] | None = None,
        full_dims: bool = False,
        missing: Literal["fill", "raise"] = "fill",
        on_damage: Literal["raise", "warn", "ignore"] = "warn",
    ) -> xr.DataTree:
        """Return everything in the file as a tree of datasets: the image at its root.

        Parameters
        ----------
        filename_or_obj, drop_variables, storage_options, full_dims, missing, on_damage
            As for `open_dataset`.
        """
        import xarray as xr

        groups = self.open_groups_as_dict(
            filename_or_obj,
            drop_variables=drop_variables,
            storage_options=storage_options,
            full_dims=full_dims,
            missing=missing,
            on_damage=on_damage,
        )
        tree = xr.DataTree.from_dict(groups)
        for path, dataset in groups.items():
            tree[path].set_close(dataset._close)
        return tree
