"""Whole files with binary layers: nd2 reads the same masks, no reader is disturbed.

The vendor's SDK and Bio-Formats are asked too where they are installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest

from limnd2_xr.frames.masks import cut_tiles, encode_rle, encode_tile, halve_labels
from limnd2_xr.model.layers import (
    RASTER_LAYERS,
    RLE_LAYERS,
    BinaryLayer,
    encode_raster_layers,
    new_rle_layer,
    rle_layers_tree,
)
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticFile,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECK = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "check.py"
INSTALLED = Path(os.environ.get("ND2_ORACLES", "~/.cache/nd2-oracles")).expanduser()
HEIGHT, WIDTH = 192, 256
SMALL = 128


def labels_of(layer: int, frame: int) -> NDArray[np.uint32]:
    """Objects that touch and have holes; ids that nd2's 16 bits hold."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wave = np.sin((x + 9 * frame) / 7) * np.cos(y / (5 + layer))
    blocks = 1 + x // 20 + 40 * (y // 30) + 1000 * layer
    return np.where(wave > 0.1, blocks, 0).astype(np.uint32)


def layers() -> tuple[BinaryLayer, ...]:
    nuclei = new_rle_layer('Nuclei & "more" µ', color="#ff8000", channel="DAPI")
    spots = new_rle_layer("spots", (nuclei,), color="#00ff00")
    return nuclei, spots, new_rle_layer("empty", (nuclei, spots))


def file_with_masks() -> tuple[SyntheticFile, dict[tuple[int, int], NDArray[Any]]]:
    """File with three layers of runs, two frames without objects, and one of tiles."""
    nuclei, spots, empty = layers()
    raster = BinaryLayer(
        id=empty.id + 1,
        name="raster",
        kind="raster",
        width=WIDTH,
        height=HEIGHT,
        tile_width=100,
        tile_height=80,
        bit_depth=32,
        compression="zlib",
        compression_level=6,
    )
    chunks = {
        RLE_LAYERS: encode(rle_layers_tree((nuclei, spots, empty))),
        RASTER_LAYERS: encode_raster_layers((raster,)),
    }
    masks = {}
    for frame in range(6):
        for layer in (nuclei, spots):
            masks[layer.id, frame] = labels = labels_of(layer.id, frame)
            chunks[layer.chunk_name(frame)] = encode_rle(labels)
        labels = labels_of(raster.id, frame)
        for size, version in ((None, labels), (SMALL, halve_labels(labels))):
            names = raster.tile_names(frame, size)
            tiles = cut_tiles(version, (80, 100))
            assert names.keys() == tiles.keys()
            for place, tile in tiles.items():
                chunks[names[place]] = encode_tile(tile, (80, 100))
    del chunks[spots.chunk_name(2)]
    chunks[spots.chunk_name(3)] = b"\0"
    masks[spots.id, 2] = masks[spots.id, 3] = np.zeros((HEIGHT, WIDTH), np.uint32)
    spec = SyntheticSpec(
        loops=(TimeLoop(2), ZLoop(3)),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
        width=WIDTH,
        height=HEIGHT,
        extra_chunks=chunks,
    )
    return build(spec), masks


def test_nd2_reads_the_same_layers(tmp_path: Path) -> None:
    file, masks = file_with_masks()
    with nd2.ND2File(file.save(tmp_path / "masks.nd2")) as opened:
        found = opened.binary_data
        np.testing.assert_array_equal(opened.asarray(), file.array().squeeze())
    assert found is not None
    assert len(found) == 3
    for layer, theirs in zip(layers(), found, strict=True):
        blue, green, red = (int(layer.color[i : i + 2], 16) for i in (5, 3, 1))
        assert theirs.name == layer.name
        assert theirs.comp_name == layer.channel
        assert theirs.comp_order == layer.component_order
        assert theirs.color == blue << 16 | green << 8 | red
        assert theirs.color_mode == layer.color_mode
        assert theirs.state == layer.state_code
        assert theirs.layer_id == layer.id
        assert theirs.file_tag == layer.file_tag
        for frame, mask in enumerate(theirs.data):
            expected = masks.get((layer.id, frame))
            if mask is None:
                assert expected is None or not expected.any()
            else:
                np.testing.assert_array_equal(mask, expected)
    stacked = found[0].asarray()
    assert stacked is not None
    assert stacked.shape == (2, 3, HEIGHT, WIDTH)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECK.exists() and INSTALLED.exists()),
    reason="the foreign readers are not installed",
)
def test_no_reader_is_disturbed(tmp_path: Path) -> None:
    file, _ = file_with_masks()
    path = file.save(tmp_path / "masks.nd2")
    frames: dict[str, Any] = {str(i): frame for i, frame in enumerate(file.frames)}
    np.savez(tmp_path / "masks.truth.npz", **frames)
    command = [sys.executable, str(CHECK), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stdout + run.stderr
