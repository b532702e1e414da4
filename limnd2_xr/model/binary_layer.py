"""One binary layer: what it is called and looks like, and which chunks are its masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COLOR_MODES", "BinaryLayer", "new_rle_layer"]

COLOR_MODES: Final = {
    0: "base",
    1: "custom",
    2: "classifier",
    4: "objects",
    8: "objects_3d",
    16: "tracked",
    32: "by_id",
    64: "by_value",
    128: "by_value_3d",
}
"""How a layer is coloured on the screen, by its code (FORMAT 10.1 [1S])."""

_STATES: Final = {
    0x1: "working",
    0x10: "tracked",
    0x20: "assay_tracked",
    0x40: "spots",
    0x80: "lines",
    0x100: "connected_3d",
    0x1000: "classified",
    0x10000: "selected",
    0x80000: "component",
}
_BOUND: Final = 0x80000
_TILES: Final = "CustomDataSeq|TiledRasterBinaryData"
_SMALL_TILES: Final = "CustomDataSeq|DownsampledTiledRasterBinaryData"


@dataclass(frozen=True, kw_only=True, slots=True)
class BinaryLayer:
    """One binary layer; what concerns tiles is 0 or empty for run-length pictures.

    Examples
    --------
    >>> layer = BinaryLayer(
    ...     id=1, name="cells", kind="rle", file_tag="Rle_1", state_code=1
    ... )
    >>> layer.chunk_name(5), layer.state
    ('CustomDataSeq|Rle_1|5!', ('working',))
    """

    id: int
    """Number of the layer, from 1 on, as names of tiles contain it."""
    name: str = ""
    """What the user called it."""
    color: str = "#ffffff"
    """``#rrggbb``."""
    channel: str = ""
    """Name of the channel that the layer is bound to; empty for none."""
    component_order: int = 0
    """Place of the layer among those of its channel."""
    state_code: int = 0
    """Flags, as stored; those that are not known included."""
    color_mode: int = 0
    """How it is coloured: a code of `COLOR_MODES`, or another one."""
    file_tag: str = ""
    """What names of run-length chunks contain."""
    uuid: str = ""
    """Identifier."""
    kind: Literal["rle", "raster"] = "rle"
    """Whether masks are run-length pictures or tiles."""
    width: int = 0
    """Pixels of a row of the mask."""
    height: int = 0
    """Rows of the mask."""
    tile_width: int = 0
    """Pixels of a row of each tile."""
    tile_height: int = 0
    """Rows of each tile."""
    bit_depth: int = 0
    """Bits of a label: 32 in all that is known; others are read as 32, too."""
    compression: str = ""
    """``zlib`` in all that is known."""
    compression_level: int = 0
    """Of zlib."""
    emulated: bool = False
    """Whether there are no tiles: the masks are those of the run-length layer of the
    same id, which the vendor's library shows as tiles."""

    @property
    def state(self) -> tuple[str, ...]:
        """What the flags of `state_code` say, as far as they are known (1S)."""
        return tuple(name for bit, name in _STATES.items() if self.state_code & bit)

    def chunk_name(self, frame: int) -> str:
        """Return the chunk of a frame's run-length picture (FORMAT 10.2).

        Parameters
        ----------
        frame
            Number of the frame. It may have no chunk: then it has no objects.
        """
        return f"CustomDataSeq|{self.file_tag}|{frame}!"

    @property
    def full_size(self) -> int:
        """Smallest power of two that neither width nor height exceeds (FORMAT 6.6)."""
        return 1 << (max(self.width, self.height, 1) - 1).bit_length()

    def level_shape(self, size: int | None = None) -> tuple[int, int]:
        """Return rows and columns of the mask, or of a downsampled version of it.

        Parameters
        ----------
        size
            Power of two that names the version: `full_size` halved once a level.

        Raises
        ------
        ValueError
            The size is no such power of two.

        Examples
        --------
        >>> BinaryLayer(id=1, width=3000, height=2001).level_shape(2048)
        (1000, 1500)
        """
        if size is None:
            return self.height, self.width
        if not 0 < size <= self.full_size or size & (size - 1):
            raise ValueError(
                f"size {size} is no power of two up to {self.full_size}, which a mask of "
                f"{self.height} x {self.width} pixels can be stored at"
            )
        full = self.full_size
        return self.height * size // full, self.width * size // full

    def tile_names(
        self, frame: int, size: int | None = None
    ) -> dict[tuple[int, int], str]:
        """Return the chunks of a frame's tiles by row and column of the grid.

        Parameters
        ----------
        frame
            Number of the frame.
        size
            Power of two of a downsampled version, see `level_shape`; the mask itself
            where not given. Its tiles are as large as those of the mask.

        Raises
        ------
        ValueError
            The layer has no tiles, or the size is none of its versions.

        Examples
        --------
        >>> layer = BinaryLayer(
        ...     id=3, kind="raster", width=5, height=3, tile_width=4, tile_height=4
        ... )
        >>> layer.tile_names(7)[0, 1]
        'CustomDataSeq|TiledRasterBinaryData_3_0_1|7!'
        >>> layer.tile_names(7, 4)
        {(0, 0): 'CustomDataSeq|DownsampledTiledRasterBinaryData_3_4_0_0|7!'}
        """
        if self.tile_width < 1 or self.tile_height < 1:
            raise ValueError(f"layer {self.id} has no tiles")
        height, width = self.level_shape(size)
        whole = size is None or size == self.full_size
        stem = f"{_TILES}_{self.id}" if whole else f"{_SMALL_TILES}_{self.id}_{size}"
        return {
            (row, column): f"{stem}_{row}_{column}|{frame}!"
            for row in range(-(-height // self.tile_height))
            for column in range(-(-width // self.tile_width))
        }


def new_rle_layer(
    name: str,
    layers: Sequence[BinaryLayer] = (),
    *,
    color: str = "#00ff00",
    channel: str = "",
) -> BinaryLayer:
    """Return a layer to be added to those of a file: its id and tag are not taken yet.

    Parameters
    ----------
    name
        What to call it.
    layers
        All layers of the file, of both kinds.
    color
        ``#rrggbb``.
    channel
        Name of the channel to bind it to; empty for none.

    Examples
    --------
    >>> layer = new_rle_layer("nuclei", [BinaryLayer(id=4)], channel="DAPI")
    >>> layer.id, layer.file_tag, layer.state
    (5, 'RleZipBinarySequence_5_v1', ('component',))
    """
    number = max((layer.id for layer in layers), default=0) + 1
    tags = {layer.file_tag for layer in layers}
    while (tag := f"RleZipBinarySequence_{number}_v1") in tags:
        number += 1
    return BinaryLayer(
        id=number,
        name=name,
        color=color,
        channel=channel,
        component_order=sum(bool(channel) and x.channel == channel for x in layers),
        state_code=_BOUND if channel else 0,
        file_tag=tag,
    )
