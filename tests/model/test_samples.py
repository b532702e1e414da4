"""Values of the sample files, as other readers and their publishers give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from numpy.testing import assert_allclose, assert_array_equal

from limnd2_xr.container.chunk_index import read_index
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.positions import StagePositions, stage_positions, z_coordinate
from limnd2_xr.model.raw import RawMetadata, chunks_to_read
from limnd2_xr.model.times import acquired, frame_times, time_coordinate
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.records import FrameRecords

pytestmark = pytest.mark.realdata


@dataclass(frozen=True)
class Loaded:
    document: Nd2Document
    records: FrameRecords
    axes: Axes

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(self.axes.dims, self.axes.shape, strict=True))

    @property
    def times(self) -> npt.NDArray[np.float64]:
        return frame_times(self.document, self.axes, self.records)

    @property
    def stage(self) -> StagePositions:
        return stage_positions(self.document, self.axes, self.records)

    @property
    def z(self) -> list[float]:
        return list(map(float, z_coordinate(self.document, self.axes, self.stage.z)[0]))


def load(path: Path) -> Loaded:
    source = SourceSpec.of(path).open()
    try:
        loaded = read_index(source)
        trees, data = chunks_to_read(loaded.index)
        entries = {
            name: entry
            for name in (*trees, *data)
            if (entry := loaded.index.find(name)) is not None
        }
        payloads = loaded.prefetch.chunks(entries)
        family = loaded.index.family("ImageDataSeq")
    finally:
        source.close()
    raw = RawMetadata(
        version=loaded.version,
        levels={name: decode(payloads[name]) for name in trees},
        data={name: payloads[name] for name in data},
    )
    document, records = Nd2Document.from_raw(raw)
    present = len(family) if family is not None else 0
    return Loaded(document, records, document.axes(present))


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the vendor's SDK 1.7.2 says; where it is wrong, the tests say so."""

    folder: str
    name: str
    sizes: dict[str, int]
    dtype: str
    bits: int
    channels: list[str]
    emission: list[float | None]
    excitation: list[float | None]
    pixel_um: float | None = None
    z_step_um: float | None = None
    objective: str = ""
    magnification: float | None = None
    aperture: float | None = None
    first_ms: float | None = None
    last_ms: float | None = None
    compression: str = "none"


def made(
    name: str, sizes: dict[str, int], dtype: str = "uint16", **rest: Any
) -> Expected:
    values: dict[str, Any] = {
        "bits": np.dtype(dtype).itemsize * 8,
        "channels": ["Ch0"],
        "emission": [450.0],
        "excitation": [400.0],
        "pixel_um": 0.4,
        "objective": "20x",
        "magnification": 20.0,
        "aperture": 0.75,
        **rest,
    }
    return Expected(folder="made", name=name, sizes=sizes, dtype=dtype, **values)


def plain(
    name: str, sizes: dict[str, int], channels: list[str], **rest: Any
) -> Expected:
    unknown: list[float | None] = [None] * len(channels)
    values = {
        "emission": unknown,
        "excitation": unknown,
        "objective": "",
        "magnification": None,
        "aperture": None,
        **rest,
    }
    return made(name, sizes, channels=channels, **values)


FILES = [
    Expected(
        folder="real",
        name="confocal_t3_z10_c2",
        sizes={"T": 3, "Z": 10},
        dtype="uint16",
        bits=12,
        channels=["5-FAM/pH 9.0", "FM 4-64/2% CHAPS"],
        emission=[525.0, 700.0],
        excitation=[488.0, 561.0],
        pixel_um=0.16780898323268245,
        z_step_um=0.5,
        objective="Plan Apo λ 60x",
        magnification=60.0,
        aperture=0.95,
        first_ms=445.0834982842207,
        last_ms=30868.585489112884,
    ),
    Expected(
        folder="real",
        name="fluo_c4",
        sizes={},
        dtype="uint16",
        bits=16,
        channels=["Mono", "DAPI", "FITC BP", "TRITC BP"],
        emission=[None, 450.0, 512.0, 595.0],
        excitation=[None, 405.0, 405.0, 405.0],
        pixel_um=0.323390342594048,
        objective="Plan Apo λ 20x",
        magnification=20.0,
        aperture=0.75,
        first_ms=249177.23035429697,
        last_ms=249177.23035429697,
    ),
    Expected(
        folder="real",
        name="netime_t2_u8",
        sizes={"T": 2},
        dtype="uint8",
        bits=8,
        channels=["DAPI"],
        emission=[None],
        excitation=[None],
        magnification=40.0,
        aperture=1.0,
        first_ms=0.0,
        last_ms=0.0,
    ),
    Expected(
        folder="real",
        name="rgb8",
        sizes={},
        dtype="uint8",
        bits=8,
        channels=[""],
        emission=[None],  # the SDK invents 420
        excitation=[None],
        pixel_um=0.12591999769210815,
        objective="#Dm PlApo40xB2",
        magnification=40.0,
        first_ms=19462145.0,
        last_ms=19462145.0,
    ),
    Expected(
        folder="real",
        name="timelapse_t53",
        sizes={"T": 53},
        dtype="uint16",
        bits=16,
        channels=["GFP 488 nm"],
        emission=[512.0],
        excitation=[405.0],
        pixel_um=0.325,
        objective="PLAN APO λD 40x OFN25 DIC N2",
        magnification=40.0,
        aperture=0.95,
        first_ms=4227.198097657412,
        last_ms=30235.518166016787,
    ),
    Expected(
        folder="real",
        name="zstack_z11",
        sizes={"Z": 11},
        dtype="uint16",
        bits=16,
        channels=["FITC BP"],
        emission=[512.0],
        excitation=[405.0],
        pixel_um=0.323390342594048,
        z_step_um=6.0,
        objective="Plan Apo λ 20x",
        magnification=20.0,
        aperture=0.75,
        first_ms=26261.132685545832,
        last_ms=31262.732783202082,
    ),
    made("r8_t_u8_w255_1pad", {"T": 4}, "uint8", first_ms=5.0, last_ms=3005.0),
    made(
        "r9_t_u16_w101_zlib",
        {"T": 3},
        first_ms=5.0,
        last_ms=2005.0,
        compression="lossless",
    ),
    made(
        "r12_t_f32_2c",
        {"T": 3},
        "float32",
        channels=["Ch0", "Ch1"],
        emission=[450.0, 500.0],
        excitation=[400.0, 450.0],
        first_ms=5.0,
        last_ms=2005.0,
    ),
    made(
        "r1_tz_2c_nisorder",
        {"T": 2, "Z": 3},
        channels=["Ch0", "Ch1"],
        emission=[450.0, 500.0],
        excitation=[400.0, 450.0],
        z_step_um=0.5,
        first_ms=5.0,
        last_ms=5005.0,
    ),
    plain("a2_t_u8_oddwidth", {"T": 4}, ["BF"], dtype="uint8", pixel_um=0.5),
    plain(
        "a3_z_3c_12bit", {"Z": 2}, ["A", "B", "C"], bits=12, pixel_um=0.5, z_step_um=1.0
    ),
    plain(
        "c_rgb_u8",
        {"T": 2},
        ["RGB"],
        dtype="uint8",
        pixel_um=0.25,
        objective="10x",
        magnification=10.0,
    ),
    plain("d_f32_single", {}, ["float"], dtype="float32", pixel_um=0.65),
    plain(
        "e_xy4",
        {"P": 4},
        ["TRITC"],
        emission=[600.0],
        excitation=[561.0],
        pixel_um=0.65,
    ),
    plain(
        "f_t_xy_z",
        {"T": 2, "P": 3, "Z": 4},
        ["GFP"],
        pixel_um=0.65,
        z_step_um=0.25,
    ),
    plain("g_bare", {}, ["Mono"], pixel_um=None),
    plain("h_missing_frame", {"T": 4}, ["GFP"], pixel_um=0.65),
]


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def pair(
    request: pytest.FixtureRequest,
    real_file: Callable[[str], Path],
    made_file: Callable[[str], Path],
) -> tuple[Expected, Loaded]:
    expected: Expected = request.param
    find = real_file if expected.folder == "real" else made_file
    return expected, load(find(expected.name))


def test_agrees_with_the_vendors_sdk(pair: tuple[Expected, Loaded]) -> None:
    expected, found = pair
    document = found.document
    assert found.sizes == expected.sizes
    assert found.axes.extra_frames == 0
    assert document.attributes.dtype == np.dtype(expected.dtype)
    assert document.attributes.bits_significant == expected.bits
    assert document.attributes.compression == expected.compression
    assert [c.name for c in document.channels] == expected.channels
    assert [c.emission_nm for c in document.channels] == expected.emission
    assert [c.excitation_nm for c in document.channels] == expected.excitation
    optics = document.optics
    assert optics.pixel_size_um == expected.pixel_um
    assert document.z_step_um == expected.z_step_um
    assert optics.objective == expected.objective
    assert optics.magnification == expected.magnification
    assert optics.numerical_aperture == expected.aperture
    if expected.first_ms is not None:
        assert expected.last_ms is not None
        times = found.times.ravel()
        assert_allclose(times[[0, -1]] * 1000, [expected.first_ms, expected.last_ms])


def test_survives_json(pair: tuple[Expected, Loaded]) -> None:
    document = pair[1].document
    source = document.to_json()
    assert Nd2Document.from_json(source) == document
    assert len(source) < 10_000


def test_values_read_off_in_nis_elements(real_file: Callable[[str], Path]) -> None:
    path = real_file("fluo_c4").with_name("known-metadata.yml")
    known = yaml.safe_load(path.read_text("utf-8"))
    names = {"multichannel": "fluo_c4", "timelapse": "timelapse_t53"}
    names["zstack"] = "zstack_z11"
    for label, name in names.items():
        found = load(real_file(name))
        attributes, channels = found.document.attributes, found.document.channels
        listed = known[f"example-{label}.nd2"]
        for channel, values in zip(channels, listed.values(), strict=True):
            sizes, optics = values["resolution"], values["optics"]
            assert attributes.height == sizes["y_size_px"]
            assert attributes.width == sizes["x_size_px"]
            assert found.sizes.get("Z", 1) == sizes["z_size_px"]
            assert found.document.optics.pixel_size_um == sizes["xy_step_um"]
            assert (found.document.z_step_um or 1.0) == sizes["z_step_um"]
            assert channel.magnification == optics["magnification"]
            assert channel.numerical_aperture == optics["numerical_aperture"]
            acquisition = values["acquisition"]
            assert channel.zoom == acquisition["zoom"]
            assert channel.binning == acquisition["binning"]
            assert channel.exposure_s == acquisition["exposure_time_s"]


def test_stage_z_of_a_recorded_stack(real_file: Callable[[str], Path]) -> None:
    found = load(real_file("zstack_z11"))
    assert_allclose(found.stage.z, np.arange(11) * 6.0 + 8806.58)
    assert_array_equal(found.stage.x, [49481.8] * 11)
    assert found.z == [(k - 5) * 6.0 for k in range(11)]
    loop = found.document.experiment.z_loop
    assert loop is not None
    assert (loop.home_index, loop.inverted, loop.bottom_to_top) == (5, True, True)


def test_stage_z_of_a_stack_whose_piezo_was_not_recorded(
    real_file: Callable[[str], Path],
) -> None:
    """Only the main drive was recorded, at 3916.725 for all slices.

    The slices themselves, made by the piezo, begin at the stored position of frame 0:
    the upper end was set 2.1125 um above the drive (type 0: fixed top), nine steps of
    0.5 um above it.
    """
    found = load(real_file("confocal_t3_z10_c2"))
    loop, frame0 = found.document.experiment.z_loop, found.document.picture.z_um
    assert loop is not None
    assert loop.high_um is not None
    assert frame0 is not None
    assert found.records.z is None
    assert_allclose(found.stage.z, np.full((3, 10), 3916.725), rtol=1e-12)
    assert_allclose(frame0, 3916.725 + loop.high_um - 9 * 0.5)
    assert found.z == [(k - 4) * 0.5 for k in range(10)]


def test_recorded_positions_of_a_time_lapse(real_file: Callable[[str], Path]) -> None:
    found = load(real_file("timelapse_t53"))
    assert_allclose([found.stage.z[0], found.stage.z[-1]], [5677.42, 5677.44])
    assert_array_equal(found.stage.x, [9744.0] * 53)


def test_a_snapshot_has_the_position_of_its_metadata(
    real_file: Callable[[str], Path],
) -> None:
    found = load(real_file("fluo_c4"))
    stage = found.stage
    at = [values.item() for values in (stage.x, stage.y, stage.z)]
    assert at == [31650.69003396694, -32211.206832269356, 9009.0]


def test_positions_of_a_multipoint_stack(made_file: Callable[[str], Path]) -> None:
    found = load(made_file("f_t_xy_z"))
    assert_array_equal(found.stage.x[0, :, 0], [10, 20, 30])
    assert_array_equal(found.stage.y[1, :, 3], [40, 50, 60])
    assert found.z == [-0.25, 0.0, 0.25, 0.5]
    (points,) = [
        loop.points for loop in [found.document.experiment.position_loop] if loop
    ]
    assert [(p.x_um, p.y_um, p.z_um) for p in points] == [
        (10.0, 40.0, None),
        (20.0, 50.0, None),
        (30.0, 60.0, None),
    ]


def test_recorded_columns_are_described(real_file: Callable[[str], Path]) -> None:
    columns = load(real_file("confocal_t3_z10_c2")).document.recorded_columns
    ids = [column.id for column in columns]
    assert ids == sorted(ids)
    assert {"X", "Y", "Z1", "PFS_STATUS"} < set(ids)
    (x,) = [column for column in columns if column.id == "X"]
    assert (x.unit, x.kind, x.size) == ("µm", "float", 30)


@pytest.mark.parametrize(
    ("name", "last", "unit"),
    [
        ("timelapse_t53", 52 * 0.5001600013146034, "s"),
        ("confocal_t3_z10_c2", (21740.17791187 - 445.08349828) / 1000, "s"),
        ("netime_t2_u8", 1.0, None),
    ],
)
def test_nominal_times(
    real_file: Callable[[str], Path], name: str, last: float, unit: str | None
) -> None:
    found = load(real_file(name))
    values, found_unit = time_coordinate(found.document, found.axes, found.times)
    assert_allclose([values[0], values[-1]], [0.0, last])
    assert found_unit == unit


@pytest.mark.parametrize(
    ("name", "start", "first"),
    [
        # the text info says 15:55:27 in a laboratory two hours east of Greenwich
        ("confocal_t3_z10_c2", "2014-06-18T13:55:22.947Z", "2014-06-18T13:55:23.392"),
        # the text info says 4:39:00 PM, seven hours west
        ("fluo_c4", "2025-04-17T23:34:51.410Z", "2025-04-17T23:39:00.587"),
        ("zstack_z11", "2025-03-07T22:37:29.163Z", "2025-03-07T22:37:55.424"),
        ("timelapse_t53", "2025-03-27T23:22:30.800Z", "2025-03-27T23:22:35.027"),
    ],
)
def test_moments(
    real_file: Callable[[str], Path], name: str, start: str, first: str
) -> None:
    found = load(real_file(name))
    assert found.document.acquisition_start == start
    moments = acquired(found.document, found.axes, found.times)
    error = moments.ravel()[0] - np.datetime64(first)
    assert abs(error) < np.timedelta64(1, "ms")


def test_unset_clocks_have_no_moments(made_file: Callable[[str], Path]) -> None:
    found = load(made_file("r1_tz_2c_nisorder"))
    assert found.document.acquisition_start == ""
    assert np.isnat(acquired(found.document, found.axes, found.times)).all()


def test_software_and_text(real_file: Callable[[str], Path]) -> None:
    document = load(real_file("confocal_t3_z10_c2")).document
    assert str(document.software) == "NIS-Elements AR 4.20.01 (Build 982)"
    assert document.text.date == "18/06/2014  15:55:27"
    assert document.text.optics == "Plan Apo λ 60x"
    assert document.text.description.startswith("Dimensions: T(3) x Z(10)")


def test_details_of_a_confocal_channel(real_file: Callable[[str], Path]) -> None:
    channel = load(real_file("confocal_t3_z10_c2")).document.channels[0]
    assert channel.color == "#78e90f"
    assert channel.modality == "fluorescence, laser scanning confocal, GaAsP"
    assert channel.pinhole_um == 38.314176245210724
    assert channel.camera == "Nikon A1plus"
    assert channel.zoom == 2.469
    assert channel.light_path.microscope == "Ti Microscope"
