from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.channels import (
    Channel,
    channel_names,
    default_channels,
    parse_channels,
    samples_per_channel,
    uniform_channels,
    unique_names,
)
from limnd2_xr.variants.tree import Level


def level(**fields: Any) -> Level:
    made = Level()
    for name, value in fields.items():
        made.add(name, 0, value)
    return made


def attributes(components: int, bits: int = 16) -> Attributes:
    return Attributes(
        width=4,
        height=4,
        components=components,
        bits_in_memory=bits,
        bits_significant=bits,
        row_nbytes=4 * components * bits // 8,
        sequence_count=1,
    )


def picture(
    planes: dict[str, Level], settings: dict[str, Level] | None = None, **extra: Any
) -> Level:
    return level(
        sPicturePlanes=level(
            uiCount=len(planes),
            sPlaneNew=level(**planes),
            uiSampleCount=len(settings or {}),
            sSampleSetting=level(**(settings or {})),
        ),
        **extra,
    )


def plane(name: str, components: int = 1, **extra: Any) -> Level:
    return level(sDescription=name, uiCompCount=components, **extra)


def setting(exposure_ms: float, **extra: Any) -> Level:
    return level(dExposureTime=exposure_ms, **extra)


def camera(name: str, quality: float, fast: float) -> Level:
    formats = {
        f"Format{kind}": level(fmtDesc=level(dBinningX=binning, dBinningY=binning))
        for kind, binning in (("Quality", quality), ("Fast", fast))
    }
    return level(CameraUserName=name, **formats)


def test_all_fields_of_a_plane() -> None:
    lens = level(wsObjectiveName="Lens 20x", dObjectiveMag=20.0, dObjectiveNA=0.75)
    stored = picture(
        {
            "a0": plane(
                "DAPI",
                uiSampleIndex=0,
                uiModalityMask=1025,
                uiColor=0x00112233,
                dPinholeDiameter=38.5,
                pFluorescentProbe=level(m_sName="DAPI probe"),
                pFilterPath=level(
                    m_pFilter=level(f0=level(m_sUserName="Custom", m_sName="x"))
                ),
            )
        },
        {
            "a0": setting(
                50.0,
                pCameraSetting=camera("Cam", 2.0, 4.0),
                pObjectiveSetting=lens,
                pDeviceSetting=level(m_sMicroscopeFullName="Ti2"),
                sOpticalConfigs=level(c0=level(sOpticalConfigName="BT 1")),
                uiModeFQ=2,
            )
        },
        dZoom=1.5,
        dRefractIndex1=1.0,
    )
    (channel,) = parse_channels(stored, attributes(1))
    assert channel.name == "DAPI"
    assert channel.color == "#332211"
    assert channel.modality == "fluorescence, spinning disk"
    assert channel.modality_flags == ("fluorescence", "spinningDiskConfocal")
    assert channel.exposure_s == 0.05
    assert channel.binning == "2x2"
    assert channel.pinhole_um == 38.5
    assert channel.probe == "DAPI probe"
    assert channel.filters == ("Custom",)
    assert channel.optical_configuration == "BT 1"
    assert (channel.camera, channel.zoom) == ("Cam", 1.5)
    assert (channel.magnification, channel.numerical_aperture) == (20.0, 0.75)
    assert channel.refractive_index == 1.0
    assert channel.light_path.microscope == "Ti2"
    assert not channel.is_rgb


def test_planes_come_in_numerical_order() -> None:
    names = [f"a{i}" for i in (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)]
    stored = picture({name: plane(name) for name in names})
    found = parse_channels(stored, attributes(12))
    assert [channel.name for channel in found] == [f"a{i}" for i in range(12)]


@pytest.mark.parametrize("names", [("a0", "a1"), ("_00", "_01")])
def test_planes_of_old_files(names: tuple[str, str]) -> None:
    camera = level(sCameraName="DS", dExposure=30.0, dCamBinningX=2.0, dCamBinningY=1.0)
    planes = {
        names[0]: level(
            uiCompCount=1,
            sOpticalConfigName="TRITC",
            eModality=3,
            sCameraSetting=camera,
        ),
        names[1]: plane("BF", eModality=1, sCameraSetting=camera),
    }
    stored = level(sPicturePlanes=level(sPlane=level(**planes)), dPinholeRadius=20.0)
    first, second = parse_channels(stored, attributes(2))
    assert first.name == first.optical_configuration == "TRITC"
    assert first.modality == "fluorescence, spinning disk"
    assert (first.exposure_s, first.binning, first.camera) == (0.03, "2x1", "DS")
    assert first.pinhole_um == 40.0
    assert (second.name, second.modality) == ("BF", "brightfield")


def test_sample_settings_are_found_by_index() -> None:
    planes = {f"a{i}": plane(str(i), uiSampleIndex=k) for i, k in enumerate((1, 0, 9))}
    stored = picture(planes, {"a0": setting(10.0), "a1": setting(20.0)})
    found = [channel.exposure_s for channel in parse_channels(stored, attributes(3))]
    assert found == [0.02, 0.01, 0.02]


def test_one_sample_setting_serves_all() -> None:
    planes = {f"a{i}": plane(str(i), uiSampleIndex=i) for i in range(3)}
    stored = picture(planes, {"a0": setting(10.0)})
    found = parse_channels(stored, attributes(3))
    assert {channel.exposure_s for channel in found} == {0.01}


@pytest.mark.parametrize(
    ("mode", "quality", "fast", "binning"),
    [
        (2, 1.0, 4.0, "1x1"),
        (1, 1.0, 4.0, "4x4"),
        (0, -1.0, 4.0, "4x4"),
        (2, -1.0, -1.0, None),
        (2, 1.5, 2.0, "1.5x1.5"),
    ],
)
def test_binning_of_the_mode_used(
    mode: int, quality: float, fast: float, binning: str | None
) -> None:
    chosen = setting(1.0, uiModeFQ=mode, pCameraSetting=camera("", quality, fast))
    stored = picture({"a0": plane("x")}, {"a0": chosen})
    assert parse_channels(stored, attributes(1))[0].binning == binning


def test_unknown_values_are_none() -> None:
    stored = picture({"a0": plane("x", dPinholeDiameter=-1.0)}, {"a0": setting(0.0)})
    (channel,) = parse_channels(stored, attributes(1))
    assert channel == Channel(
        name="x", modality="fluorescence", modality_flags=("fluorescence",)
    )


def test_rgb_planes_have_no_wavelength() -> None:
    spectrum = level(pPoint=level(Point0=level(eType=4, dWavelength=500.0)))
    filters = level(
        f0=level(
            m_ePlacement=6, m_ExcitationSpectrum=spectrum, m_EmissionSpectrum=spectrum
        )
    )
    path = level(m_pFilter=filters)
    planes = {"a0": plane("RGB", 3, pFilterPath=path)}
    (channel,) = parse_channels(picture(planes), attributes(3))
    assert channel.is_rgb
    assert (channel.emission_nm, channel.excitation_nm) == (None, None)
    planes = {"a0": plane("mono", 1, pFilterPath=path)}
    (channel,) = parse_channels(picture(planes), attributes(1))
    assert (channel.emission_nm, channel.excitation_nm) == (500.0, 500.0)


def test_several_rgb_planes_stay_rgb() -> None:
    found = parse_channels(
        picture({"a0": plane("x", 3), "a1": plane("y", 3)}), attributes(6)
    )
    assert [(c.name, c.component_count) for c in found] == [("x", 3), ("y", 3)]
    assert samples_per_channel(found) == 3


def test_a_mix_of_mono_and_rgb_is_split_in_stored_order() -> None:
    found = parse_channels(
        picture({"a0": plane("DAPI"), "a1": plane("HE", 3), "a2": plane("", 3)}),
        attributes(7),
    )
    assert [channel.name for channel in found] == [
        "DAPI",
        "HE_B",
        "HE_G",
        "HE_R",
        "Channel_2_B",
        "Channel_2_G",
        "Channel_2_R",
    ]
    assert {channel.component_count for channel in found} == {1}
    assert samples_per_channel(found) == 1


def test_planes_of_two_components_are_split_by_number() -> None:
    found = parse_channels(picture({"a0": plane("x", 2)}), attributes(2))
    assert [channel.name for channel in found] == ["x_0", "x_1"]


@pytest.mark.parametrize(
    ("counts", "components", "expected"),
    [
        ([1, 1], 2, [("p0", 1), ("p1", 1)]),
        ([3, 3], 2, [("p0", 1), ("p1", 1)]),
        ([1, 1], 6, [("p0", 3), ("p1", 3)]),
        ([0, 2], 2, [("p0", 1), ("p1", 1)]),
        ([1], 3, [("p0", 3)]),
        ([1], 1, [("p0", 1)]),
        ([1, 1], 3, [("Channel_0", 1), ("Channel_1", 1), ("Channel_2", 1)]),
        ([1, 1], 1, [("Mono", 1)]),
        ([], 1, [("Mono", 1)]),
    ],
)
def test_the_frame_is_right_about_the_components(
    counts: list[int], components: int, expected: list[tuple[str, int]]
) -> None:
    planes = {f"a{i}": plane(f"p{i}", n) for i, n in enumerate(counts)}
    found = parse_channels(picture(planes), attributes(components))
    assert [(c.name, c.component_count) for c in found] == expected


@pytest.mark.parametrize(
    ("components", "bits", "expected"),
    [
        (1, 16, [("Mono", 1)]),
        (3, 8, [("RGB", 3)]),
        (3, 16, [("Channel_0", 1), ("Channel_1", 1), ("Channel_2", 1)]),
        (2, 8, [("Channel_0", 1), ("Channel_1", 1)]),
    ],
)
def test_default_channels(
    components: int, bits: int, expected: list[tuple[str, int]]
) -> None:
    found = default_channels(attributes(components, bits))
    assert [(c.name, c.component_count) for c in found] == expected


def test_absurd_numbers_of_components_are_refused() -> None:
    with pytest.raises(CorruptChunk, match="uiComp is 65537"):
        default_channels(attributes(65537))
    with pytest.raises(CorruptChunk, match="uiCompCount of plane 0"):
        parse_channels(picture({"a0": plane("x", -1)}), attributes(1))


@pytest.mark.parametrize(
    "broken",
    [
        plane("x", uiColor="red"),
        plane("x", uiSampleIndex=1.5),
        plane("x", uiModalityMask="mask"),
        plane("x", eModality=b""),
        level(uiCompCount="one"),
    ],
)
def test_wrong_types_are_refused(broken: Level) -> None:
    stored = picture({"a0": broken}, {"a0": setting(1.0)})
    with pytest.raises(CorruptChunk, match="field"):
        parse_channels(stored, attributes(1))


def test_labels() -> None:
    assert channel_names([Channel(name="")]) == [""]
    assert channel_names([Channel(), Channel(name="A")]) == ["Channel_0", "A"]
    assert channel_names([Channel(name="A")] * 3) == ["A", "A_2", "A_3"]
    clash = [Channel(name="Channel_1"), Channel()]
    assert channel_names(clash) == ["Channel_1", "Channel_1_2"]


@given(st.lists(st.sampled_from(["a", "a_2", "a_2_2", "a_3", "b", ""]), max_size=8))
def test_unique_names_never_collide(names: list[str]) -> None:
    found = unique_names(names)
    assert len(set(found)) == len(names)
    for i, (name, label) in enumerate(zip(names, found, strict=True)):
        if name not in names[:i]:
            assert label == name
        else:
            assert label.startswith(f"{name}_")


def test_many_equal_names_take_linear_time() -> None:
    found = unique_names(["x"] * 20_000)
    assert found[-1] == "x_20000"


def test_uniform_channels_leave_uniform_ones_alone() -> None:
    mono = (Channel(name="a"), Channel(name="b"))
    assert uniform_channels(mono) == mono
    assert uniform_channels(()) == ()
    assert samples_per_channel(()) == 1
