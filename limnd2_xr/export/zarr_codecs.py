"""How the bytes of a chunk are made: compressors by name, and their encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from limnd2_xr.export.blosc_planes import PlaneBlosc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["COMPRESSORS", "ZarrFormat", "chunk_encoder", "zarr_compressor"]

ZarrFormat: TypeAlias = Literal[2, 3]

COMPRESSORS: Final[Mapping[str, Mapping[str, Any]]] = {
    "blosc-zstd": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1},
    "blosc-lz4": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
    "zstd": {"id": "zstd", "level": 3},
    "gzip": {"id": "gzip", "level": 6},
}
"""Compressors by name, as numcodecs configures them."""

_SHUFFLES: Final = ("noshuffle", "shuffle", "bitshuffle")


def zarr_compressor(
    wanted: Any, zarr_format: ZarrFormat, dtype: np.dtype[Any]
) -> Any | None:
    """Return what zarr's ``create_array`` takes as compressor.

    Parameters
    ----------
    wanted
        A name of `COMPRESSORS`, None for none, a configuration such as
        ``{"id": "zstd", "level": 5}``, or a codec of numcodecs or zarr.
    zarr_format
        2 takes codecs of numcodecs, 3 those of zarr.
    dtype
        Of the pixels.

    Raises
    ------
    ValueError
        If there is no such compressor, or the format has no place for it.
    TypeError
        If it is something else.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        if wanted not in COMPRESSORS:
            raise ValueError(
                f"compressor must be one of {', '.join(COMPRESSORS)}, None or a codec, "
                f"not {wanted!r}"
            )
        wanted = COMPRESSORS[wanted]
    config = _numcodecs_config(wanted)
    if zarr_format == 2:
        if config is None:
            raise ValueError(
                f'{wanted!r} is a codec of zarr 3, but OME-Zarr 0.4 (version="0.4") is '
                "zarr 2: give one of numcodecs"
            )
        return _numcodec(config)
    if config is None:
        return wanted
    return _zarr3_codec(config, dtype)


def _numcodecs_config(wanted: Any) -> dict[str, Any] | None:
    """Return the configuration of a codec of numcodecs; None of a codec of zarr itself."""
    from numcodecs.abc import Codec  # type: ignore[import-untyped]
    from zarr.abc.codec import BytesBytesCodec

    if isinstance(wanted, Codec):
        found: dict[str, Any] = wanted.get_config()
        return found
    if isinstance(wanted, BytesBytesCodec):
        return None
    try:
        return {"id": wanted["id"], **wanted}
    except (TypeError, KeyError):
        raise TypeError(
            f"compressor must be a name, None, a codec or its configuration with an id, "
            f"not {wanted!r}"
        ) from None


def _numcodec(config: Mapping[str, Any]) -> Any:
    import numcodecs  # type: ignore[import-untyped]

    if config["id"] == "blosc" and config.get("clevel", 5) not in range(10):
        # numcodecs finds that out when it compresses.
        raise ValueError(f"there is no compressor {dict(config)!r}: clevel is 0 to 9")
    try:
        return numcodecs.get_codec(dict(config))
    except (ValueError, TypeError) as error:  # its UnknownCodecError is a ValueError
        raise ValueError(f"there is no compressor {dict(config)!r}: {error}") from error


def _zarr3_codec(config: Mapping[str, Any], dtype: np.dtype[Any]) -> Any:
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    _numcodec(config)  # checks the settings
    name, rest = config["id"], {k: v for k, v in config.items() if k != "id"}
    try:
        if name == "blosc":
            shuffle = rest.get("shuffle", 1)
            if shuffle == -1:  # numcodecs: bits of bytes, bytes of all else
                shuffle = 2 if dtype.itemsize == 1 else 1
            return BloscCodec(
                typesize=dtype.itemsize,
                cname=rest.get("cname", "lz4"),
                clevel=rest.get("clevel", 5),
                shuffle=_SHUFFLES[shuffle],
                blocksize=rest.get("blocksize", 0),
            )
        if name == "zstd":
            checksum = rest.get("checksum", False)
            return ZstdCodec(level=rest.get("level", 0), checksum=checksum)
        if name == "gzip":
            return GzipCodec(level=rest.get("level", 1))
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"there is no compressor {config!r}: {error}") from error
    raise ValueError(
        f'{name} is no codec of zarr 3 that readers know; version="0.4" takes it, or give '
        f"one of {', '.join(COMPRESSORS)}"
    )


# ---- encoding -------------------------------------------------------------------------


def chunk_encoder(metadata: Any) -> Callable[[NDArray[Any]], bytes]:
    """Return what turns pixels into the bytes of a chunk, or of a shard.

    zarr's own pipeline costs more for each chunk than fast compressors do; what it
    reads is the same (tested).

    Parameters
    ----------
    metadata
        Of the array, as zarr made it.
    """
    if metadata.zarr_format == 2:
        compressor = metadata.compressor
        if compressor is None:
            return _raw
        return _Compressed((_numcodecs_step(compressor, metadata.dtype),))
    codecs = metadata.codecs
    if hasattr(codecs[0], "chunk_shape"):  # sharding
        inner = codecs[0]
        return _Shard(_v3_encoder(inner.codecs), tuple(inner.chunk_shape))
    return _v3_encoder(codecs)


def _v3_encoder(codecs: Any) -> Callable[[NDArray[Any]], bytes]:
    """Return the encoder of a chain of the serializer and what follows it."""
    steps = tuple(_v3_step(codec.to_dict()) for codec in codecs[1:])
    return _Compressed(steps) if steps else _raw


def _v3_step(stored: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return the encoder of one codec that makes bytes of bytes, from its metadata."""
    import numcodecs

    name, config = stored["name"], dict(stored.get("configuration", {}))
    if name == "blosc":
        config["shuffle"] = _SHUFFLES.index(config["shuffle"])
        return _blosc_step(config, config["typesize"])
    if name in {"zstd", "gzip"}:
        return numcodecs.get_codec({"id": name, **config}).encode  # type: ignore[no-any-return]
    if name == "crc32c":
        return _with_crc32c
    if name.startswith("numcodecs."):
        config["id"] = name.removeprefix("numcodecs.")
        return numcodecs.get_codec(config).encode  # type: ignore[no-any-return]
    raise ValueError(
        f"chunks cannot be compressed with {name}: give one of "
        f"{', '.join(COMPRESSORS)}, or a codec of numcodecs"
    )


def _numcodecs_step(codec: Any, dtype: Any) -> Callable[[Any], Any]:
    """Return the encoder of a codec of numcodecs."""
    config = codec.get_config()
    if config.pop("id") == "blosc":
        return _blosc_step(config, dtype.to_native_dtype().itemsize)
    return codec.encode  # type: ignore[no-any-return]


def _blosc_step(config: Mapping[str, Any], itemsize: int) -> Callable[[Any], Any]:
    """Return the encoder of numcodecs, or a faster one of the same format."""
    import numcodecs

    codec = numcodecs.Blosc(**config)
    if itemsize == 2 and PlaneBlosc.encodes(config):
        return PlaneBlosc(config["clevel"], codec)
    return codec.encode  # type: ignore[no-any-return]


def _raw(pixels: NDArray[Any]) -> bytes:
    return _little(pixels).tobytes()


def _little(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))


def _with_crc32c(data: Any) -> bytes:
    from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]

    return bytes(CRC32C(location="end").encode(data))


@dataclass(frozen=True, slots=True)
class _Compressed:
    """Compresses the bytes of pixels in one or several steps."""

    steps: tuple[Callable[[Any], Any], ...]

    def __call__(self, pixels: NDArray[Any]) -> bytes:
        data: Any = _little(pixels)
        for step in self.steps:
            data = step(data)
        return data if isinstance(data, bytes) else bytes(data)


@dataclass(frozen=True, slots=True)
class _Shard:
    """Puts the chunks of a shard one after the other, and behind them where they are."""

    encode: Callable[[NDArray[Any]], bytes]
    chunk_shape: tuple[int, ...]

    def __call__(self, pixels: NDArray[Any]) -> bytes:
        grid = [n // c for n, c in zip(pixels.shape, self.chunk_shape, strict=True)]
        index = np.full((*grid, 2), np.iinfo(np.uint64).max, "<u8")
        parts: list[bytes] = []
        at = 0
        for place in np.ndindex(*grid):
            part = pixels[
                tuple(
                    slice(i * c, (i + 1) * c)
                    for i, c in zip(place, self.chunk_shape, strict=True)
                )
            ]
            if not part.any():  # as zarr does: left out, reads as the fill value
                continue
            data = self.encode(part)
            index[place] = at, len(data)
            parts.append(data)
            at += len(data)
        return b"".join([*parts, _with_crc32c(index.tobytes())])
