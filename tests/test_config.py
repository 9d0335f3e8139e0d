import subprocess
import sys
from dataclasses import dataclass, field
from typing import Literal

import pytest

from unmingle.config import build, override, plain_values, read_values, to_yaml
from unmingle.errors import ConfigError, MissingFileError


@dataclass(frozen=True)
class Engine:
    power: float = 1.0
    fuel: Literal["wood", "coal"] = "coal"
    gears: tuple[float, float] = (1.0, 2.0)


@dataclass(frozen=True)
class Train:
    wagons: int = 3
    steam: bool = True
    name: str | None = None
    stops: tuple[str, ...] = ()
    engine: Engine = field(default_factory=Engine)


@dataclass(frozen=True)
class Bell:
    size: int = 3

    def __post_init__(self):
        if self.size < 0:
            raise ConfigError(f"size is {self.size}; wanted 0 or more")


@dataclass(frozen=True)
class Tower:
    must: Bell = field(default_factory=Bell)
    may: Bell | None = None


@dataclass(frozen=True)
class Church:
    tower: Tower | None = None


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_file_shows_only_its_difference_from_what_it_extends(tmp_path):
    write(
        tmp_path,
        base="wagons: 5\nengine: {power: 2.0, fuel: wood}\nstops: [a, b]",
        child="extends: base.yaml\nengine: {power: 9}\nstops: [c]",
    )
    assert read_values(tmp_path / "child.yaml") == {
        "wagons": 5,
        "engine": {"power": 9, "fuel": "wood"},
        "stops": ["c"],
    }


def test_the_last_of_several_parents_wins(tmp_path):
    write(tmp_path, a="wagons: 1\nname: a", b="wagons: 2", child="extends: [a.yaml, b.yaml]")
    assert read_values(tmp_path / "child.yaml") == {"wagons": 2, "name": "a"}


def test_a_parent_is_found_beside_the_file_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    write(tmp_path, base="wagons: 7")
    write(tmp_path / "deep", child="extends: ../base.yaml")
    monkeypatch.chdir(tmp_path)
    assert read_values(tmp_path / "deep" / "child.yaml") == {"wagons": 7}


@pytest.mark.parametrize("value", ["", "3", "[a.yaml, 3]", "{a: b}"])
def test_what_is_extended_is_files(tmp_path, value):
    write(tmp_path, child=f"extends: {value}\nname: a")
    with pytest.raises(ConfigError, match="a file or a list of files"):
        read_values(tmp_path / "child.yaml")


def test_a_date_that_no_calendar_has_is_an_error_in_words(tmp_path):
    write(tmp_path, child="name: 2024-13-45")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        read_values(tmp_path / "child.yaml")
    assert override({}, ["name=2024-13-45"])["name"] == "2024-13-45"


def test_extending_in_a_circle_is_refused(tmp_path):
    write(tmp_path, a="extends: b.yaml", b="extends: a.yaml")
    with pytest.raises(ConfigError, match="extends itself"):
        read_values(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "wagons: 1\nwagons: 2"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    write(tmp_path, bad=text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_values(tmp_path / "bad.yaml")


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    write(tmp_path, tdanet="wagons: 1")
    with pytest.raises(MissingFileError, match=r"did you mean 'tdanet\.yaml'"):
        read_values(tmp_path / "tdanett.yaml")


def test_overrides_reach_into_groups_and_are_typed_like_yaml():
    values = override({"engine": {"fuel": "wood"}}, ["engine.power=3e-4", "wagons=2", "name=", "engine.gears=[1, 4]"])
    assert values == {"engine": {"fuel": "wood", "power": 3e-4, "gears": [1, 4]}, "wagons": 2, "name": None}


@pytest.mark.parametrize("word", ["wagons", "=3", "a b=3", "--wagons=3"])
def test_a_word_that_is_no_override_is_refused(word):
    with pytest.raises(ConfigError, match="write key=value"):
        override({}, [word])


def test_an_override_below_a_plain_value_is_refused():
    with pytest.raises(ConfigError, match=r"wagons is 3, not a group"):
        override({"wagons": 3}, ["wagons.first=1"])


def test_values_become_nested_frozen_dataclasses():
    train = build(Train, {"wagons": 4, "engine": {"gears": [1, 3]}, "stops": ["x"]}, where="train")
    assert train == Train(wagons=4, engine=Engine(gears=(1.0, 3.0)), stops=("x",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wagon": 3}, r"train\.wagon; did you mean 'wagons'"),
        ({"engine": {"pover": 3}}, r"train\.engine\.pover; did you mean 'power'"),
        ({"zzz": 3}, "known: wagons, steam"),
        ({"wagons": "three"}, r"train\.wagons: expected int, got three"),
        ({"wagons": 2.5}, r"train\.wagons: expected int, got 2\.5"),
        ({"wagons": True}, r"train\.wagons: expected int, got True"),
        ({"steam": 3}, r"train\.steam: expected bool"),
        ({"name": [1]}, r"train\.name: expected str or null"),
        ({"engine": {"fuel": "coke"}}, r"train\.engine\.fuel: expected Literal\['wood', 'coal'\], got coke"),
        ({"engine": {"gears": [1, 2, 3]}}, r"train\.engine\.gears: expected tuple with 2 elements"),
        ({"engine": 3}, r"train\.engine is 3, but a group"),
    ],
)
def test_wrong_keys_and_types_are_named_with_their_place(values, message):
    with pytest.raises(ConfigError, match=message):
        build(Train, values, where="train")


@pytest.mark.parametrize("group", ["must", "may"])
def test_what_a_group_refuses_is_said_in_its_own_words_however_deep_it_is(group):
    for kind, values in ((Tower, {group: {"size": -1}}), (Church, {"tower": {group: {"size": -1}}})):
        with pytest.raises(ConfigError, match=r"^size is -1; wanted 0 or more$"):
            build(kind, values, where="it")


def test_what_is_written_back_builds_the_same_settings(tmp_path):
    train = Train(wagons=9, name="3e-4", stops=("a", "yes", "7"), engine=Engine(power=1e-5))
    write(tmp_path, written=to_yaml(plain_values(train)))
    assert build(Train, read_values(tmp_path / "written.yaml"), where="train") == train


def test_importing_config_needs_neither_torch_nor_jsonargparse():
    code = "import sys, unmingle.config; print([m for m in ('torch', 'jsonargparse', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
