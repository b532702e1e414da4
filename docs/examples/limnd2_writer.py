"""The vendor's walk-through of writing with limnd2, on the drop-in.

usage: python limnd2_writer.py [FILE.nd2]
"""

# ruff: noqa: T201

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.compat import limnd2

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 640
HEIGHT = 480
COMPONENT_COUNT = 2
BITS = 16
SEQUENCE_COUNT = 10

TIMELOOP_COUNT = 5
TIMELOOP_STEP = 150.0  # ms
ZSTACK_COUNT = 2
ZSTACK_STEP = 0.5  # µm


def create_random_noise(seed: int) -> NDArray[np.uint16]:
    """Return an image of noise."""
    shape = (HEIGHT, WIDTH, COMPONENT_COUNT)
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**BITS, shape, dtype=np.uint16)


def write(path: str) -> None:
    """Write images, loops and channels to a new file."""
    with limnd2.Nd2Writer(path) as nd2:
        # Image attributes come before the first image.
        nd2.imageAttributes = limnd2.attributes.ImageAttributes.create(
            width=WIDTH,
            height=HEIGHT,
            component_count=COMPONENT_COUNT,
            bits=BITS,
            sequence_count=SEQUENCE_COUNT,
        )

        # Images may come in any order; their numbers follow the loops.
        for i in range(SEQUENCE_COUNT):
            nd2.setImage(i, create_random_noise(i))

        experiment = limnd2.experiment_factory.ExperimentFactory()
        experiment.t.count = TIMELOOP_COUNT
        experiment.t.step = TIMELOOP_STEP
        experiment.z.count = ZSTACK_COUNT
        experiment.z.step = ZSTACK_STEP
        nd2.experiment = experiment.createExperiment()

        metadata = limnd2.metadata_factory.MetadataFactory(
            zoom_magnification=200.0,
            objective_magnification=1.5,
            pinhole_diameter=50,
            pixel_calibration=10.0,
        )
        metadata.addPlane(name="Channel 1", modality="Confocal, Fluo", color="blue")
        metadata.addPlane(name="Channel 2", modality="Confocal, Fluo", color="red")
        nd2.pictureMetadata = metadata.createMetadata()
    # Here the file is complete, and has its name.


def stream(path: str) -> None:
    """Write images without knowing how many there will be."""
    attributes = limnd2.attributes.ImageAttributes.create(
        width=WIDTH,
        height=HEIGHT,
        component_count=COMPONENT_COUNT,
        bits=BITS,
        sequence_count=...,  # set later
    )
    arguments = {"with_image_attributes": attributes}
    with limnd2.Nd2Writer(path, chunker_kwargs=arguments) as nd2:
        count = 0
        while count < SEQUENCE_COUNT:
            nd2.setImage(count, create_random_noise(count))
            count += 1
        nd2.imageAttributes = limnd2.attributes.ImageAttributes.create(
            width=WIDTH,
            height=HEIGHT,
            component_count=COMPONENT_COUNT,
            bits=BITS,
            sequence_count=count,
        )


def main(path: str = "outfile.nd2") -> None:
    """Write a file, and say what is in it."""
    write(path)
    with limnd2.Nd2Reader(path) as nd2:
        print(nd2.imageAttributes.shape, nd2.dimensionSizes())
        print(nd2.experiment)
        print(nd2.pictureMetadata.channelNames)


if __name__ == "__main__":
    main(*sys.argv[1:2])
