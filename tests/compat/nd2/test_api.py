"""Names, signatures and structures are those of nd2 0.12."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import io
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import nd2
import nd2.index
import numpy as np
import pytest
from nd2 import structures as theirs

from limnd2_xr.compat import nd2 as ours
from limnd2_xr.compat.nd2 import index, structures
from limnd2_xr.compat.nd2.axis import AXIS
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLASSES = sorted(
    name
    for name, value in vars(theirs).items()
    if isinstance(value, type)
    and value.__module__.startswith("nd2")
    and not name.startswith("_")
)
METHODS = sorted(
    name
    for name in dir(nd2.ND2File)
    if callable(getattr(nd2.ND2File, name)) and not name.startswith("_")
)
FUNCTIONS = ("imread", "is_legacy", "is_supported_file", "rescue_nd2", "nd2_to_tiff")


def arguments(function: Any) -> list[tuple[str, Any, Any]]:
    found = []
    for parameter in inspect.signature(function).parameters.values():
        default = parameter.default
        known = "a function" if inspect.isfunction(default) else repr(default)
        found.append((parameter.name, parameter.kind, known))
    return found


def test_all_public_names_are_there() -> None:
    assert set(ours.__all__) == set(nd2.__all__)
    assert all(hasattr(ours, name) for name in nd2.__all__)
    assert ours.__version__ == nd2.__version__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        ours.nothing  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_the_same(name: str) -> None:
    assert arguments(getattr(ours, name)) == arguments(getattr(nd2, name))


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_methods_take_the_same(name: str) -> None:
    expected = arguments(getattr(nd2.ND2File, name))
    found = arguments(getattr(ours.ND2File, name))
    if name == "to_dask":
        added = found.pop()
        assert added == ("chunks", inspect.Parameter.KEYWORD_ONLY, "'auto'")
    assert found == expected


def hinted(module: Any) -> set[str]:
    """Names whose annotations programs can look up."""
    found = set()
    members = {name: getattr(module.ND2File, name) for name in dir(module.ND2File)}
    members |= {name: getattr(module, name) for name in module.__all__}
    for name, member in members.items():
        try:
            get_type_hints(getattr(member, "fget", member))
        except (NameError, TypeError):  # the latter of what is no function
            continue
        found.add(name)
    return found


def test_annotations_can_be_looked_up() -> None:
    public = {name for name in hinted(nd2) if not name.startswith("_")}
    assert "asarray" in public
    assert public <= hinted(ours)
    assert {"read_frame", "BinaryLayer", "imread"} <= hinted(ours)


def test_errors_of_arguments_name_the_class() -> None:
    wrong: list[Any] = [
        lambda: ours.ND2File("a.nd2", True),  # type: ignore[call-arg]
        lambda: ours.ND2File("a.nd2", read_using_sdk=True),  # type: ignore[call-arg]
    ]
    for call in wrong:
        with pytest.raises(TypeError, match=r"^ND2File\.__init__\(\)"):
            call()


def test_what_is_a_property_is_one_here() -> None:
    for name in dir(nd2.ND2File):
        if not name.startswith("_"):
            is_method = callable(getattr(nd2.ND2File, name))
            assert callable(getattr(ours.ND2File, name)) == is_method, name


def test_layers_have_the_same_fields_and_methods() -> None:
    found = dataclasses.fields(ours.BinaryLayer)
    expected = dataclasses.fields(nd2.BinaryLayer)
    assert [(f.name, f.repr) for f in found] == [(f.name, f.repr) for f in expected]
    for name in ("BinaryLayer", "BinaryLayers"):
        public = [n for n in dir(getattr(nd2, name)) if n[0] != "_" or n == "__init__"]
        for method in public:
            here, there = (getattr(getattr(m, name), method) for m in (ours, nd2))
            assert callable(here) == callable(there)
            if inspect.isfunction(there):
                assert arguments(here) == arguments(there)


@pytest.mark.parametrize("name", CLASSES)
def test_structures_have_the_same_fields(name: str) -> None:
    expected, found = getattr(theirs, name), getattr(structures, name)
    if issubclass(expected, enum.Enum):
        members = {m.name: m.value for m in expected}
        assert {m.name: m.value for m in found} == members
    elif dataclasses.is_dataclass(expected):
        assert fields(found) == fields(expected)
    elif issubclass(expected, tuple):
        assert found._fields == expected._fields
        if name != "ExtrudedShape":  # the default there is a field, not a list
            assert found._field_defaults == expected._field_defaults
    else:
        assert list(found.__annotations__) == list(expected.__annotations__)
    public = [n for n in vars(expected) if not n.startswith("_")]
    defined = [n for n in public if n not in getattr(expected, "__annotations__", {})]
    assert all(hasattr(found, n) for n in defined)


def fields(kind: Any) -> list[tuple[Any, ...]]:
    found = []
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        shown = default if default is not dataclasses.MISSING else "required"
        plain = tuple(shown)[:1] if isinstance(shown, tuple) else shown
        found.append((field.name, plain, field.repr, field.compare))
    return found


def test_unions_name_the_same_loops() -> None:
    for name in ("ExpLoop", "LoopParams"):
        members = [kind.__name__ for kind in get_args(getattr(structures, name))]
        assert members == [kind.__name__ for kind in get_args(getattr(theirs, name))]
    flags = set(get_args(structures.ModalityFlags))
    assert flags == set(get_args(theirs.ModalityFlags))


def test_axis_names() -> None:
    for name in ("X", "Y", "Z", "CHANNEL", "RGB", "TIME", "POSITION", "UNKNOWN"):
        assert getattr(AXIS, name) == getattr(nd2.AXIS, name)
    assert AXIS.frame_coords() == nd2.AXIS.frame_coords()
    assert AXIS._MAP == nd2.AXIS._MAP


@pytest.mark.parametrize("module", [theirs, structures], ids=["nd2", "ours"])
def test_structures_are_made_from_dicts(module: Any) -> None:
    loop = module.TimeLoop(
        count=2,
        nestingLevel=0,
        parameters={"startMs": 0.0, "periodMs": 1.0, "durationMs": 0.0},
    )
    assert loop.parameters.periodDiff is None
    points = [{"stagePositionUm": [1.0, 2.0, 3.0]}]
    position = module.XYPosLoop(1, 0, {"isSettingZ": True, "points": points})
    assert position.parameters.points[0].stagePositionUm.z == 3.0
    box = {"SizeX": 1.0, "SizeY": 2.0}
    param = module.AnimParam(boxShape=box, centerX=0.5)
    assert (param.boxShape.sizeY, param.center.x) == (2.0, 0.5)
    info = module.RoiInfo(shapeType=9, interpType=1, color=3.0, locked=1)
    assert info.shapeType is module.RoiShapeType.Circle
    assert (info.color, info.locked, info.scope.name) == (3, True, "Global")
    color = module.Color.from_abgr_u4(0x80_03_02_01)
    assert (color[:3], color.as_hex()) == ((1, 2, 3), "#010203")
    assert color.as_abgr_u4() == 0x80_03_02_01
    assert module.Color(1, 2, 3).as_abgr_u4() == 0x03_02_01
    assert module.EventMeaning(7).description() == "Command Executed"
    channel = module.ChannelMeta("a", 0, module.Color(1, 0, 0))
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert channel.colorRGBA == 1


def test_positions_from_dicts_take_the_values() -> None:
    place = structures.Position({"x": 1.0, "y": 2.0, "z": 3.0})  # type: ignore[arg-type]
    assert place.stagePositionUm == (1.0, 2.0, 3.0)
    assert structures.ExtrudedShape().basePoints == []


def test_old_module_warns() -> None:
    nd2file: Any = importlib.import_module("limnd2_xr.compat.nd2.nd2file")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert nd2file.ND2File is ours.ND2File
    with pytest.raises(AttributeError):
        nd2file.nothing  # noqa: B018


@pytest.mark.realdata
def test_module_functions_agree(each_sample: Path) -> None:
    for call in ("is_legacy", "is_supported_file"):
        assert getattr(ours, call)(each_sample) == getattr(nd2, call)(each_sample)
    with each_sample.open("rb") as one, each_sample.open("rb") as other:
        assert ours.is_supported_file(one) == nd2.is_supported_file(other)
        assert one.tell() == other.tell()


@pytest.mark.parametrize(
    "call", [ours.is_supported_file, nd2.is_supported_file], ids=["ours", "nd2"]
)
def test_what_is_no_file(call: Callable[[Any], bool], tmp_path: Path) -> None:
    empty = tmp_path / "empty.nd2"
    empty.touch()
    assert not call(empty)
    with pytest.raises(FileNotFoundError):
        call(tmp_path / "none.nd2")
    with pytest.raises(IsADirectoryError):
        call(tmp_path)


def test_url_is_recognised(tmp_path: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe("/recognise.nd2", b"\xda\xce\xbe\x0a")
    assert ours.is_supported_file("memory://recognise.nd2")
    assert not ours.is_legacy(_written(tmp_path, b"\xda\xce\xbe\x0a"))
    assert ours.is_legacy(_written(tmp_path, b"\x00\x00\x00\x0c"))


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "some.nd2"
    path.write_bytes(data)
    return path


def test_rescue_finds_the_same_frames(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6)
    path = _written(tmp_path, build(spec).data)
    for options in ({}, {"frame_shape": (6, 8, 1)}, {"max_iters": 2}):
        expected = [
            frame.copy()
            for frame in nd2.rescue_nd2(str(path), verbose=False, **options)
        ]
        found = list(ours.rescue_nd2(path, verbose=False, **options))
        assert len(found) == len(expected)
        for frame, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(frame, wanted)
    with pytest.raises(ValueError, match="chunks begin with"):
        list(ours.rescue_nd2(path, chunk_start=b"abcd"))


def test_rescue_inflates_and_reads_handles(capsys: pytest.CaptureFixture[str]) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(2),), width=8, height=6, compression="zlib")
    file = build(spec)
    found = list(ours.rescue_nd2(io.BytesIO(file.data), (6, 8, 1)))
    np.testing.assert_array_equal(np.stack(found), file.frames)
    flat = list(ours.rescue_nd2(io.BytesIO(file.data), verbose=False))
    assert [frame.shape for frame in flat] == [(48,), (48,)]
    assert "ImageDataSeq|1!" in capsys.readouterr().out


@pytest.mark.realdata
def test_index_lists_the_same(each_real: Path) -> None:
    expected = dict(nd2.index.index_file(each_real))
    found = dict(index.index_file(each_real))
    assert found == expected


def test_index_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, n in (("a", 2), ("b", 3)):
        spec = SyntheticSpec(
            loops=(TimeLoop(n), ZLoop(2)), channels=(ChannelSpec(name),), width=8
        )
        (tmp_path / f"{name}.nd2").write_bytes(build(spec).data)
    index.main([str(tmp_path), "-f", "csv", "-i", "name,axes,shape", "-s", "name-"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name,axes,shape"
    assert [line[0] for line in lines[1:]] == ["b", "a"]
    index.main([str(tmp_path), "-f", "json", "-F", "shape[0] > 2", "-e", "path"])
    assert '"b.nd2"' in (out := capsys.readouterr().out)
    assert '"a.nd2"' not in out
    index.main([str(tmp_path), "-f", "table", "-i", "name,none", "-r"])
    captured = capsys.readouterr()
    assert "a.nd2" in captured.out
    assert "none" in captured.err


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "(lambda: 1)()", "path.__class__", "x", "1 +", "'a' * 9"],
)
def test_filters_run_no_code(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.nd2").write_bytes(build(SyntheticSpec(width=8, height=6)).data)
    with pytest.raises(SystemExit):
        index.main([str(tmp_path), "-f", "json", "-F", text])
