from __future__ import annotations

from typing import Any

import pytest

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.wavelengths import (
    SpectrumPoint,
    parse_spectrum,
    spectrum_nm,
    wavelengths,
)
from limnd2_xr.variants.tree import Level

RAISING, FALLING, PEAK, RANGE = 2, 3, 4, 5
EXCITATION, EMISSION, TURRET, LAMP, CHIP, USER = 1, 2, 3, 4, 5, 6


def level(**fields: Any) -> Level:
    made = Level()
    for name, value in fields.items():
        made.add(name, 0, value)
    return made


def spectrum(*points: tuple[int, float] | tuple[int, float, float]) -> Level:
    listed = Level()
    for i, (kind, nm, *value) in enumerate(points):
        point = level(eType=kind, dWavelength=nm, dTValue=value[0] if value else 0.0)
        listed.add(f"Point{i}", 0, point)
    return level(uiCount=len(points), pPoint=listed, bPoints=False)


def passing(
    placement: int, *, ex: Level | None = None, em: Level | None = None
) -> Level:
    return level(
        m_ePlacement=placement,
        m_ExcitationSpectrum=ex or spectrum(),
        m_EmissionSpectrum=em or spectrum(),
    )


def plane(
    *filters: Level, probe_ex: Level | None = None, probe_em: Level | None = None
) -> Level:
    listed = Level()
    for item in filters:
        listed.add("", 0, item)
    return level(
        pFluorescentProbe=level(
            m_ExcitationSpectrum=probe_ex or spectrum(),
            m_EmissionSpectrum=probe_em or spectrum(),
        ),
        pFilterPath=level(m_uiCount=len(filters), m_pFilter=listed),
    )


@pytest.mark.parametrize(
    ("points", "nm"),
    [
        ([], None),
        ([(PEAK, 405.0, 0.0)], 405.0),
        ([(RAISING, 500.0, 1.0), (FALLING, 550.0, 1.0)], 525.0),
        ([(FALLING, 550.0, 1.0), (RAISING, 500.0, 1.0)], 525.0),
        ([(PEAK, 488.0, 0.2), (PEAK, 561.0, 0.9)], 561.0),
        ([(PEAK, 488.0, 0.5), (PEAK, 561.0, 0.5)], 488.0),
        ([(PEAK, 520.0, 0.0), (RANGE, 40.0, 1.0)], 520.0),
        ([(RAISING, 650.0, 1.0)], 650.0),
        ([(1, 500.0, 0.1), (1, 510.0, 1.0), (1, 530.0, 1.0), (1, 540.0, 0.2)], 520.0),
        (
            [(RAISING, 430, 0.1), (FALLING, 450, 0), (RAISING, 500, 1), (3, 540, 0)],
            520.0,
        ),
        ([(RAISING, 600.0, 1.0), (FALLING, 550.0, 1.0)], 575.0),
    ],
)
def test_one_wavelength_for_a_spectrum(
    points: list[tuple[int, float, float]], nm: float | None
) -> None:
    made = [SpectrumPoint(kind=k, nm=float(w), value=float(v)) for k, w, v in points]
    assert spectrum_nm(made) == nm


def test_points_of_no_wavelength_or_type_are_left_out() -> None:
    found = parse_spectrum(spectrum((PEAK, 0.0), (0, 500.0), (PEAK, -1.0), (4, 600.0)))
    assert found == (SpectrumPoint(kind=4, nm=600.0),)


def test_old_files_store_whole_nanometres() -> None:
    listed = level(Point0=level(eType=4, uiWavelength=561, dWavelength=0.0))
    assert parse_spectrum(level(pPoint=listed)) == (SpectrumPoint(kind=4, nm=561.0),)


def test_points_are_ordered_by_number() -> None:
    points = {f"Point{i}": level(eType=4, dWavelength=400.0 + i) for i in (10, 9, 0)}
    found = parse_spectrum(level(pPoint=level(**points)))
    assert [point.nm for point in found] == [400.0, 409.0, 410.0]


def test_user_override_as_nis_5_writes_it() -> None:
    item = passing(USER, ex=spectrum((PEAK, 405.0)), em=spectrum((PEAK, 512.0)))
    assert wavelengths(plane(item), 2) == (512.0, 405.0)


def test_zero_means_none() -> None:
    item = passing(USER, ex=spectrum((PEAK, 0.0)), em=spectrum((PEAK, 0.0)))
    assert wavelengths(plane(item), 0) == (None, None)


def test_laser_lines_of_one_filter_belong_to_the_planes_in_order() -> None:
    lines = spectrum((PEAK, 488.0), (PEAK, 561.0))
    found = [
        wavelengths(plane(passing(TURRET, ex=lines, em=spectrum((PEAK, em, 25.0)))), i)
        for i, em in enumerate((525.0, 700.0))
    ]
    assert found == [(525.0, 488.0), (700.0, 561.0)]


def test_planes_beyond_the_lines_take_the_nearest_below_the_emission() -> None:
    lines = spectrum((PEAK, 405.0), (PEAK, 488.0), (PEAK, 561.0))
    item = passing(TURRET, ex=lines, em=spectrum((PEAK, 525.0)))
    assert wavelengths(plane(item), 3) == (525.0, 488.0)


def test_the_probe_comes_before_the_filters() -> None:
    item = passing(USER, ex=spectrum((PEAK, 405.0)), em=spectrum((PEAK, 512.0)))
    found = plane(item, probe_ex=spectrum((PEAK, 490.0)), probe_em=spectrum((4, 520.0)))
    assert wavelengths(found, 0) == (520.0, 490.0)


@pytest.mark.parametrize(
    ("filters", "emission"),
    [
        (
            [passing(TURRET, em=spectrum((4, 500.0))), passing(2, em=spectrum((4, 9)))],
            9,
        ),
        ([passing(2, em=spectrum((4, 500.0))), passing(USER, em=spectrum((4, 9)))], 9),
        ([passing(EMISSION, em=spectrum((2, 500.0), (3, 550.0)))], 525.0),
        ([passing(TURRET, em=spectrum((2, 500.0), (3, 550.0)))], 525.0),
        ([passing(CHIP, em=spectrum((4, 600.0)))], 600.0),
        (
            [
                passing(TURRET, em=spectrum((1, 600.0, 1.0), (1, 1.0), (1, 2.0))),
                passing(EMISSION, em=spectrum((1, 500.0, 1.0), (1, 1.0), (1, 2.0))),
            ],
            500.0,
        ),
    ],
)
def test_emission_by_placement_of_the_filter(
    filters: list[Level], emission: float
) -> None:
    assert wavelengths(plane(*filters), 0)[0] == emission


def test_excitation_is_nearest_to_the_emission_and_below_it() -> None:
    filters = [
        passing(EXCITATION, ex=spectrum((PEAK, 561.0))),
        passing(LAMP, ex=spectrum((PEAK, 488.0))),
        passing(TURRET, ex=spectrum((PEAK, 405.0)), em=spectrum((PEAK, 525.0))),
    ]
    assert wavelengths(plane(*filters), 0) == (525.0, 488.0)


def test_excitation_without_an_emission_is_the_first() -> None:
    filters = [
        passing(EXCITATION, ex=spectrum((PEAK, 561.0))),
        passing(LAMP, ex=spectrum((PEAK, 488.0))),
    ]
    assert wavelengths(plane(*filters), 0) == (None, 561.0)


def test_a_filter_placed_elsewhere_serves_if_there_is_no_other() -> None:
    assert wavelengths(plane(passing(0, ex=spectrum((PEAK, 405.0)))), 0) == (
        None,
        405.0,
    )


def test_a_plane_without_any_spectrum() -> None:
    assert wavelengths(level(), 0) == (None, None)
    empty_path = level(pFilterPath=level(m_uiCount=0))
    assert wavelengths(empty_path, 0) == (None, None)


def test_wrong_types_are_refused() -> None:
    with pytest.raises(CorruptChunk, match="dWavelength"):
        parse_spectrum(level(pPoint=level(Point0=level(eType=4, dWavelength="red"))))
    with pytest.raises(CorruptChunk, match="m_ePlacement"):
        wavelengths(plane(level(m_ePlacement="turret")), 0)
