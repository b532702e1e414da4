"""Drop-in for the package limnd2 0.3: the same names, on this package's reader and writer.

``from limnd2_xr.compat import limnd2`` in place of ``import limnd2``; or
`limnd2_xr.compat.install`, which lets other packages import it as ``limnd2``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from limnd2_xr.compat.limnd2 import (
    attributes,
    base,
    binary,
    custom_data,
    experiment,
    experiment_factory,
    export,
    image_info,
    lite_variant,
    metadata,
    metadata_factory,
    nd2,
    nd2file,
    results,
    textinfo,
    variant,
    wellplate_factory,
)
from limnd2_xr.compat.limnd2.attributes import (
    ImageAttributes,
    ImageAttributesCompression,
    ImageAttributesPixelType,
)
from limnd2_xr.compat.limnd2.base import (
    BaseChunker,
    FileLikeObject,
    FileStore,
    MemoryStore,
    NameNotInChunkmapError,
    Nd2LoggerEnabled,
    NotNd2Format,
    NumpyArrayLike,
    UnexpectedCallError,
    UnsupportedChunkmapError,
)
from limnd2_xr.compat.limnd2.binary import (
    BinaryItemColorMode,
    BinaryItemStateFlags,
    BinaryRasterMetadata,
    BinaryRasterMetadataItem,
    BinaryRleMetadata,
    BinaryRleMetadataItem,
)
from limnd2_xr.compat.limnd2.custom_data import (
    CustomDescription,
    RecordedData,
    RecordedDataItem,
    RecordedDataType,
)
from limnd2_xr.compat.limnd2.experiment import (
    ExperimentLevel,
    ExperimentLoopType,
    ExperimentNETimeLoop,
    ExperimentSpectralLoop,
    ExperimentTimeLoop,
    ExperimentXYPosLoop,
    ExperimentZStackLoop,
    WellplateDesc,
    WellplateFrameInfoItem,
    ZStackType,
)
from limnd2_xr.compat.limnd2.experiment_factory import ExperimentFactory
from limnd2_xr.compat.limnd2.export import frameExport, metadataAsJSON, seriesExport
from limnd2_xr.compat.limnd2.image_info import (
    gatherImageInformation,
    generalImageInfo,
    imageInformationAsJSON,
    imageInformationAsTXT,
    imageInformationAsXLSX,
)
from limnd2_xr.compat.limnd2.metadata import PictureMetadata
from limnd2_xr.compat.limnd2.metadata_factory import MetadataFactory
from limnd2_xr.compat.limnd2.nd2 import Nd2Reader, Nd2Writer
from limnd2_xr.compat.limnd2.nd2file import ND2File
from limnd2_xr.compat.limnd2.results import (
    ResultItem,
    ResultPane,
    ResultPanesConfiguration,
    TableData,
)
from limnd2_xr.compat.limnd2.textinfo import ImageTextInfo
from limnd2_xr.compat.limnd2.wellplate_factory import WellplateFactory

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "BaseChunker",
    "BinaryItemColorMode",
    "BinaryItemStateFlags",
    "BinaryRasterMetadata",
    "BinaryRasterMetadataItem",
    "BinaryRleMetadata",
    "BinaryRleMetadataItem",
    "CustomDescription",
    "ExperimentFactory",
    "ExperimentLevel",
    "ExperimentLoopType",
    "ExperimentNETimeLoop",
    "ExperimentSpectralLoop",
    "ExperimentTimeLoop",
    "ExperimentXYPosLoop",
    "ExperimentZStackLoop",
    "FileLikeObject",
    "FileStore",
    "ImageAttributes",
    "ImageAttributesCompression",
    "ImageAttributesPixelType",
    "ImageTextInfo",
    "MemoryStore",
    "MetadataFactory",
    "ND2File",
    "NameNotInChunkmapError",
    "Nd2LoggerEnabled",
    "Nd2Reader",
    "Nd2Writer",
    "NotNd2Format",
    "NumpyArrayLike",
    "PictureMetadata",
    "RecordedData",
    "RecordedDataItem",
    "RecordedDataType",
    "ResultItem",
    "ResultPane",
    "ResultPanesConfiguration",
    "TableData",
    "UnexpectedCallError",
    "UnsupportedChunkmapError",
    "WellplateDesc",
    "WellplateFactory",
    "WellplateFrameInfoItem",
    "ZStackType",
    "__version__",
    "attributes",
    "base",
    "binary",
    "custom_data",
    "experiment",
    "experiment_factory",
    "export",
    "frameExport",
    "gatherImageInformation",
    "generalImageInfo",
    "imageInformationAsJSON",
    "imageInformationAsTXT",
    "imageInformationAsXLSX",
    "image_info",
    "lite_variant",
    "metadata",
    "metadataAsJSON",
    "metadata_factory",
    "nd2",
    "nd2file",
    "results",
    "seriesExport",
    "textinfo",
    "variant",
    "wellplate_factory",
]

__version__ = "0.3.0"
"""Version of limnd2 whose names these are."""


def __getattr__(name: str) -> ModuleType:
    """Import ``limnd2.tools`` when it is asked for: it needs readers of other formats."""
    if name == "tools":
        return import_module(f"{__name__}.tools")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
