"""The walk-through of limnd2's documentation that reads a file, on the drop-in.

usage: python limnd2_reader.py FILE.nd2
"""

# ruff: noqa: T201

from __future__ import annotations

import sys

from limnd2_xr.compat import limnd2  # was: import limnd2


def main(path: str) -> None:
    """Show what a file has.

    Parameters
    ----------
    path
        Of the file.
    """
    with limnd2.Nd2Reader(path) as nd2:
        print("Summary information")
        for key, value in limnd2.generalImageInfo(nd2).items():
            print(f"  {key}: {value}")

        attributes = nd2.imageAttributes
        print("Image attributes")
        print(f"  width: {attributes.width}, height: {attributes.height}")
        print(f"  components: {attributes.componentCount}")
        print(f"  frames: {attributes.frameCount}, each {attributes.imageBytes} bytes")
        print(f"  type: {attributes.dtype.__name__}")

        images = [nd2.image(index) for index in range(attributes.frameCount)]
        print(f"Images: {len(images)} of shape {images[0].shape}, {images[0].dtype}")

        show_metadata(nd2.pictureMetadata)
        if nd2.experiment is not None:
            show_experiment(nd2.experiment)

        print("More information")
        if nd2.imageTextInfo is not None:
            for key, value in nd2.imageTextInfo.to_dict().items():
                print(f"  {key}: {value}")


def show_metadata(metadata: limnd2.PictureMetadata) -> None:
    """Show the channels, and what each was taken with."""
    to_names = limnd2.metadata.PicturePlaneModalityFlags.to_str_list
    for channel in metadata.channels:
        print(f"Channel name: {channel.sDescription}")
        print(f"  Modality: {' '.join(to_names(channel.uiModalityMask))}")
        print(f"  Emission wavelength: {channel.emissionWavelengthNm}")
        print(f"  Excitation wavelength: {channel.excitationWavelengthNm}")
        settings = metadata.sampleSettings(channel)
        if settings is not None:
            print(f"  Camera name: {settings.cameraName}")
            print(f"  Microscope name: {settings.microscopeName}")
            print(f"  Objective magnification: {settings.objectiveMagnification}")


def show_experiment(experiment: limnd2.ExperimentLevel) -> None:
    """Show the loops, and the settings of the Z stack."""
    for level in experiment:
        print(f"Experiment: {level.name}, {level.count} steps")
    stack = experiment.findLevel(limnd2.ExperimentLoopType.eEtZStackLoop)
    if stack is not None:
        pars = stack.uLoopPars
        print(f"  Distance of slices: {pars.dZStep} µm")
        print(f"  Home slice: {pars.homeIndex}")
        print(f"  From {pars.bottom} to {pars.top} µm")


if __name__ == "__main__":
    main(sys.argv[1])
