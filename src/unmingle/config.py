"""Settings as text: YAML files that extend each other, dotted overrides, and frozen dataclasses made from them.

    values = read_values(Path("recipe.yaml"))           # what the file and those it extends say
    values = override(values, ["training.lr=3e-4"])     # what the command line says on top
    settings = build(TrainingSettings, values["training"], where="training")

A key that no field bears and a value of the wrong type are errors that name the place and the nearest known key. Types
are checked by jsonargparse, imported when something is built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_type_hints

import yaml

from unmingle.errors import ConfigError, MissingExtraError, MissingFileError, did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Values = dict[str, Any]
Settings = TypeVar("Settings")
EXTENDS = "extends"


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-3` is a number (YAML 1.1 wants `1.0e-3`) and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"{', '.join(twice)} is given twice{node.start_mark}")
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would take for a number."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def read_values(path: Path) -> Values:
    """Read a YAML file with everything it extends.

    `extends: other.yaml` (or a list of them), relative to the file that says so, is read first; what the file itself
    says goes on top, key by key.

    Raises:
        MissingFileError: the file, or one that it extends, is not there.
        ConfigError: it is not YAML, not a mapping, or extends itself.
    """
    return _read(path, ())


def _read(path: Path, above: tuple[Path, ...]) -> Values:
    if path.resolve() in above:
        raise ConfigError(f"{path} extends itself, by way of {', '.join(file.name for file in above)}")
    own = _read_file(path)
    merged: Values = {}
    for parent in _parents(own.pop(EXTENDS, []), path):
        merged = merge(merged, _read(path.parent / parent, (*above, path.resolve())))
    return merge(merged, own)


def _parents(value: object, path: Path) -> list[str]:
    parents = [value] if isinstance(value, str) else value
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in cast("list[object]", parents)):
        raise ConfigError(f"{path}: extends is {value!r}, but should be a file or a list of files, such as 'base.yaml'")
    return cast("list[str]", parents)


def _read_file(path: Path) -> Values:
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no settings file {path}{_near_file(path)}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date that no calendar has
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, but settings are a mapping such as 'name: tdanet'")
    return cast("Values", values)


def _near_file(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    return did_you_mean(path.name, [file.name for file in path.parent.glob("*.yaml")])


def _parse(text: str) -> object:
    return yaml.load(text, Loader=_Loader)  # a SafeLoader


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> Values:
    """`base` with the values of `top` on it, mapping by mapping; lists and plain values are replaced whole."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def override(values: Mapping[str, Any], overrides: Sequence[str], *, such_as: str = "training.lr=3e-4") -> Values:
    """Put `key.of.a.value=YAML` words, as given on a command line, on top of values.

    Args:
        values: what is there.
        overrides: the words.
        such_as: one of them, for the message.

    Raises:
        ConfigError: a word without `=`, or one that goes below a plain value.
    """
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not all(part.isidentifier() for part in key.split(".")):
            raise ConfigError(f"{word!r} is not an override; write key=value, such as {such_as}")
        values = _set(values, key.split("."), _scalar(text), said=key)
    return dict(values)


def _scalar(text: str) -> object:
    try:
        return _parse(text)
    except (ValueError, yaml.YAMLError):
        return text


def _set(values: Mapping[str, Any], keys: Sequence[str], value: object, *, said: str) -> Values:
    first, *rest = keys
    if not rest:
        return {**values, first: value}
    below = values.get(first) or {}
    if not isinstance(below, Mapping):
        raise ConfigError(f"{said} cannot be set: {first} is {below!r}, not a group of settings")
    return {**values, first: _set(cast("Mapping[str, Any]", below), rest, value, said=said)}


def build(kind: type[Settings], values: Mapping[str, Any], *, where: str) -> Settings:
    """Make a dataclass, and those inside it, from plain values.

    Args:
        kind: the dataclass.
        values: its fields by name; one that is left out keeps its default.
        where: what the values are called in an error, such as `training`.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value that the dataclass refuses.
        MissingExtraError: jsonargparse is not installed.
    """
    try:
        from jsonargparse import ArgumentError, ArgumentParser
    except ImportError as error:
        raise MissingExtraError("jsonargparse", extra="train", purpose="reading a recipe") from error
    check_keys(kind, values, where=where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "it")
    try:
        return parser.instantiate(parser.parse_object({"it": dict(values)})).it
    except ConfigError:
        raise
    except (ArgumentError, TypeError, ValueError) as error:
        raise _refusal(error) or ConfigError(_plain(str(error), where)) from error


def _refusal(error: BaseException | None) -> ConfigError | None:
    """What a dataclass itself said; jsonargparse wraps it, once for every optional group around."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__
    return error


def _plain(message: str, where: str) -> str:
    """What jsonargparse says, without Python's notation: which key, what came, what was wanted."""
    message = re.sub(r"<class '\w+(\.\w+)+'>", "a group of settings", message)
    message = re.sub(r"<class '(\w+)'>", r"\1", message).replace("typing.", "").replace("NoneType", "null")
    found = re.match(r'Parser key "it\.(?P<key>[\w.]+)":\s*(?P<problem>.*)', message, re.DOTALL)
    if not found:
        return f"{where}: {message}"
    key, problem = found["key"], " ".join(found["problem"].split())
    union = re.match(r"Does not validate.*Subtypes: \[(.*?)\] .*Given value: (.*)", problem)
    if union:
        problem = f"Expected {' or '.join(union[1].split(', '))}. Got value: {union[2]}"
    problem = problem.replace("Expected a ", "Expected ")
    return f"{where}.{key}: {problem[0].lower()}{problem[1:]}".replace(". Got value:", ", got")


def check_keys(kind: type, values: object, *, where: str) -> None:
    """Refuse keys that are no field of a dataclass, here or in a dataclass inside it.

    Raises:
        ConfigError: names the key, its place and the nearest field.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}, but a group of settings was wanted")
    known = field_types(kind)
    for key, value in cast("Mapping[str, Any]", values).items():
        if key not in known:
            raise unknown_key(key, known, where=where)
        group = next((choice for choice in (known[key], *get_args(known[key])) if is_dataclass(choice)), None)
        if group is not None and not (value is None and type(None) in get_args(known[key])):
            check_keys(cast("type", group), value, where=f"{where}.{key}")


def unknown_key(key: str, known: Sequence[str] | Mapping[str, Any], *, where: str) -> ConfigError:
    """The error for a key nobody knows: what came, the near name, or everything that could be meant."""
    near = did_you_mean(str(key), known) or f"; known: {', '.join(known)}"
    return ConfigError(f"unknown setting {where}.{key}{near}" if where else f"unknown setting {key}{near}")


def field_types(kind: type) -> dict[str, Any]:
    """The fields that a dataclass takes, with their resolved types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(cast("type[DataclassInstance]", kind)) if field.init}


def plain_values(settings: DataclassInstance) -> Values:
    """A dataclass as what YAML can say: mappings, lists and plain values; the inverse of `build`."""
    return cast("Values", _without_tuples(asdict(settings)))


def _without_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_tuples(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_without_tuples(item) for item in cast("Sequence[Any]", value)]
    return value


def to_yaml(values: Mapping[str, Any]) -> str:
    """Values as the text of a YAML file, in their order."""
    return yaml.dump(
        dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None
    )


def check_range(name: str, bounds: tuple[float, float] | None) -> None:
    """Refuse (lowest, highest) the wrong way round.

    Raises:
        ConfigError: names the setting.
    """
    if bounds is not None and bounds[0] > bounds[1]:
        raise ConfigError(f"{name} is [{bounds[0]}, {bounds[1]}]; the lower bound comes first")


def check_least(name: str, value: float | None, least: float) -> None:
    """Refuse a number that is too small; None is no number.

    Raises:
        ConfigError: names the setting.
    """
    if value is not None and value < least:
        raise ConfigError(f"{name} is {value}, but must be {least} or more")
