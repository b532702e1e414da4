"""OME metadata become coordinates and attributes; what has no place is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import limnd2_xr
from limnd2_xr import Nd2Error, Nd2Warning
from limnd2_xr.conversion.ome_described import ome_images
from limnd2_xr.conversion.ome_xml import parse_ome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    Convert = Callable[..., xr.Dataset]
    Pixels = Callable[..., NDArray[Any]]

SIZES = {"T": 2, "Z": 2, "C": 2, "Y": 20, "X": 40}
PLANES = "".join(
    f'<Plane TheT="{t}" TheZ="{z}" TheC="{c}" DeltaT="{(10 * t + z) * 1000}" '
    f'DeltaTUnit="ms" ExposureTime="{0.1 * (c + 1)}" PositionX="1.5" PositionXUnit="mm" '
    f'PositionY="-2" PositionYUnit="µm" PositionZ="{30 - 0.5 * z}" PositionZUnit="µm"/>'
    for t in range(2)
    for z in range(2)
    for c in range(2)
)
IMAGE = f"""
<Image ID="Image:0" Name="first">
  <AcquisitionDate>2026-02-03T04:05:06</AcquisitionDate>
  <ExperimenterRef ID="E:1"/>
  <Description>two slices</Description>
  <InstrumentRef ID="Instrument:0"/>
  <ObjectiveSettings ID="O:1" RefractiveIndex="1.515"/>
  <StageLabel Name="centre"/>
  <Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SignificantBits="12"
    SizeX="40" SizeY="20" SizeZ="2" SizeC="2" SizeT="2"
    PhysicalSizeX="325" PhysicalSizeXUnit="nm" PhysicalSizeY="0.325"
    PhysicalSizeZ="0.5" TimeIncrement="10" TimeIncrementUnit="s">
    <Channel ID="C:0" Name="DAPI" Color="65535" EmissionWavelength="461"
      ExcitationWavelength="405" ContrastMethod="Fluorescence"
      AcquisitionMode="SpinningDiskConfocal" PinholeSize="50">
      <DetectorSettings ID="D:1" Binning="2x2"/></Channel>
    <Channel ID="C:1" Name="DAPI" Color="-16776961" IlluminationType="Transmitted">
      <DetectorSettings ID="D:1" Binning="Other"/></Channel>
    <TiffData/>
    {PLANES}
  </Pixels>
</Image>"""
OME = f"""<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Experimenter ID="E:0" UserName="x"/>
<Experimenter ID="E:1" FirstName="Ada" LastName="Author"/>
<Plate ID="Plate:0"><Well ID="W:0" Row="1" Column="11">
  <WellSample ID="S:0" Index="0"><ImageRef ID="Image:0"/></WellSample></Well></Plate>
<Instrument ID="Instrument:0"><Microscope Model="Ti2"/>
  <Detector ID="D:1" Model="Zyla"/><Detector ID="D:2" Model="Other"/>
  <Objective ID="O:0" Model="10x"/>
  <Objective ID="O:1" Model="Plan Apo 60x" NominalMagnification="60" LensNA="1.4"/>
</Instrument>{IMAGE}</OME>"""


def test_everything_with_a_place_is_kept(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(2, 2, 2, 20, 40)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path,
        data.reshape(8, 20, 40),
        description=OME.encode(),
        metadata=None,
        photometric="minisblack",
    )
    ds = converted(path)
    np.testing.assert_array_equal(ds["image"], data)
    assert ds["C"].values.tolist() == ["DAPI", "DAPI_2"]
    assert ds["color"].values.tolist() == ["#0000ff", "#ff0000"]
    assert ds["emission_wavelength"].values[0] == 461
    assert np.isnan(ds["emission_wavelength"].values[1])
    assert ds["excitation_wavelength"].values[0] == 405
    assert ds["modality"].values.tolist() == [
        "fluorescence, spinning disk",
        "brightfield",
    ]
    assert ds["exposure_time"].values.tolist() == [0.1, 0.2]
    assert ds["pinhole_diameter"].values[0] == 50
    assert ds["binning"].values.tolist() == ["2x2", ""]
    assert ds["camera"].values.tolist() == ["Zyla", "Zyla"]
    assert ds["time"].values.tolist() == [[0, 1], [10, 11]]
    # The stage falls from slice to slice.
    assert ds["Z"].values.tolist() == [0, -0.5]
    assert ds["stage_z"].values.tolist() == [[30, 29.5]] * 2
    assert (ds["stage_x"] == 1500).all()
    assert (ds["stage_y"] == -2).all()
    # Moments are stored as days.
    late = ds["acquired"].values[0, 0] - np.datetime64("2026-02-03T04:05:06")
    assert abs(late) < np.timedelta64(50, "us")
    assert ds["well"].item() == "B12"
    wanted = {
        "objective": "Plan Apo 60x",
        "magnification": 60.0,
        "numerical_aperture": 1.4,
        "refractive_index": 1.515,
        "microscope": "Ti2",
        "pixel_size_um": 0.325,
        "z_step_um": 0.5,
        "significant_bits": 12,
        "author": "Ada Author",
    }
    assert {name: ds.attrs.get(name) for name in wanted} == wanted
    assert ds.attrs["description"].startswith("two slices")


def test_what_has_no_place_is_told(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    text = OME.replace('PositionXUnit="mm"', "").replace(
        "</Pixels>", '</Pixels><ROIRef ID="ROI:0"/>'
    )
    text = text.replace('TheC="1" DeltaT="0"', 'TheC="1" DeltaT="7"')
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path,
        pixels(8, 20, 40),
        description=text.encode(),
        metadata=None,
        photometric="minisblack",
    )
    with pytest.warns(Nd2Warning) as caught:
        ds = converted(path)
    (message,) = [str(warning.message) for warning in caught]
    assert "PositionX of planes (in 'reference frame'" in message
    assert "1 ROIs" in message
    assert "time of channels other than the first" in message
    assert "stage_y" in ds.coords
    with pytest.raises(ValueError, match="1 ROIs"):
        converted(path, on_loss="raise")
    with pytest.raises(ValueError, match="1 ROIs"):
        limnd2_xr.plan_conversion(path, on_loss="raise")
    converted(path, on_loss="ignore")


def test_a_colour_image_has_no_wavelengths(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(20, 40, 3, dtype="uint8")
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YXS", "Channel": {"Name": "H&E", "EmissionWavelength": 500}}
    tifffile.imwrite(path, data, photometric="rgb", metadata=metadata)
    with pytest.warns(Nd2Warning, match="wavelengths of a colour image"):
        ds = converted(path)
    np.testing.assert_array_equal(ds["image"][0], data)
    assert ds["C"].values.tolist() == ["H&E"]
    with pytest.warns(Nd2Warning, match="wavelengths|emission_wavelength"):
        asked = converted(path, emission=[461])
    assert "emission_wavelength" not in asked.coords or np.isnan(
        asked["emission_wavelength"]
    )


def test_an_ome_tiff_that_says_it_is_huge(tmp_path: Path, converted: Convert) -> None:
    text = OME.replace('SizeT="2"', 'SizeT="999999999"')
    path = tmp_path / "a.ome.tif"
    data = np.zeros((8, 20, 40), "uint16")
    tifffile.imwrite(path, data, description=text.encode(), metadata=None)
    with pytest.raises(Nd2Error, match=r"a\.ome\.tif.*too large"):
        converted(path)


def test_entities_are_refused() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><OME><Image/></OME>'
    with pytest.raises(Nd2Error, match="document type"):
        parse_ome(bomb)
    for text in ("", "<OME>", "<a/>", "no XML"):
        with pytest.raises(Nd2Error, match="OME metadata"):
            parse_ome(text)


@given(
    st.dictionaries(
        st.sampled_from(
            ["PhysicalSizeX", "PhysicalSizeXUnit", "TimeIncrement", "SignificantBits"]
        ),
        st.sampled_from(["", "1", "-1", "nan", "1e999", "x", "µm", "pixel"]),
    ),
    st.dictionaries(
        st.sampled_from(["TheT", "TheZ", "TheC", "DeltaT", "PositionX", "DeltaTUnit"]),
        st.sampled_from(["", "0", "1", "-1", "99999999999", "nan", "1e999", "x", "s"]),
    ),
    st.dictionaries(
        st.sampled_from(["Color", "EmissionWavelength", "Name", "AcquisitionMode"]),
        st.sampled_from(["", "0", "-1", "nan", "inf", "99999999999", "x"]),
    ),
)
def test_odd_values_never_fail(
    pixels: dict[str, str], plane: dict[str, str], channel: dict[str, str]
) -> None:
    def element(name: str, attributes: dict[str, str], inner: str = "") -> str:
        words = " ".join(f'{key}="{value}"' for key, value in attributes.items())
        return f"<{name} {words}>{inner}</{name}>"

    inner = element("Channel", channel) + element("Plane", plane)
    (image,) = ome_images(
        f"<OME><Image>{element('Pixels', pixels, inner)}</Image></OME>"
    )
    told = image.describe({"T": 2, "C": 1, "Y": 4, "X": 4})
    for variable in told.coords.values():
        assert set(variable.dims) <= {"T", "C", "Y", "X"}
        assert variable.dtype.kind != "f" or not np.isinf(variable.values).any()
