"""`unmingle doctor`: what is installed, what is missing, plain advice."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from unmingle._version import __version__
from unmingle.cli.console import emit, emit_json, example, table
from unmingle.errors import UnmingleError

EXAMPLE = example("unmingle doctor", "unmingle doctor --json")

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]+)[^>;]*(?:>=(?P<least>[0-9.]+))?.*?(?:extra == ['\"](?P<extra>\w+)['\"])?$"
)
_NOT_FOR_USERS = ("all", "dev")


@dataclass(frozen=True)
class Package:
    """A package that unmingle uses: which version is there, which was wanted, and what wants it."""

    name: str
    wanted: str | None
    installed: str | None
    extra: str | None

    @property
    def usable(self) -> bool:
        """Whether it is there and not too old."""
        return self.installed is not None and not _is_older(self.installed, self.wanted)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is installed, what is missing, what to do.

    Leaves with exit code 1 when something is missing that every separation needs.
    """
    packages = list(_packages())
    parts = {name: _try(probe) for name, probe in _PARTS.items()}
    advice = [
        *_advice(packages),
        *_about_microphone(packages),
        *(f"{name} does not work: {found}" for name, (works, found) in parts.items() if not works),
    ]
    if as_json:
        emit_json(
            {
                "unmingle": __version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "packages": [{**asdict(one), "usable": one.usable} for one in packages],
                "parts": {name: {"works": works, "found": found} for name, (works, found) in parts.items()},
                "advice": advice,
            }
        )
    else:
        _print(packages, parts, advice)
    broken = any(one.extra is None and not one.usable for one in packages) or not all(
        works for works, _ in parts.values()
    )
    raise typer.Exit(1 if broken else 0)


def _print(packages: list[Package], parts: dict[str, tuple[bool, str]], advice: list[str]) -> None:
    emit(f"unmingle {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
    emit(
        table(
            ("part", "works", "found"),
            [(name, "yes" if works else "NO", found) for name, (works, found) in parts.items()],
        )
    )
    rows = [(one.name, one.extra or "always", one.wanted, one.installed or "missing") for one in packages]
    emit("\n" + table(("package", "needed for", "at least", "installed"), rows))
    emit("\n" + "\n".join(advice or ["Everything is in order."]))


def _packages() -> Iterator[Package]:
    """What the project file names, looked up among what is installed."""
    from importlib import metadata

    for requirement in metadata.requires("unmingle") or ():
        match = _REQUIREMENT.match(requirement)
        if match is None or match["extra"] in _NOT_FOR_USERS or match["name"] == "unmingle":
            continue
        try:
            installed = metadata.version(match["name"])
        except metadata.PackageNotFoundError:
            installed = None
        yield Package(match["name"], match["least"], installed, match["extra"])


def _is_older(installed: str, wanted: str | None) -> bool:
    def numbers(version: str) -> list[int]:
        return [int(digits) for digits in re.findall(r"\d+", version.split("+")[0])]

    return wanted is not None and [*numbers(installed), 0, 0] < numbers(wanted)


def _advice(packages: list[Package]) -> Iterator[str]:
    if missing := [one.name for one in packages if one.extra is None and not one.usable]:
        yield f"Separation cannot work without {', '.join(missing)}; run: pip install --upgrade unmingle"
    lacking: dict[str, list[str]] = {}
    for one in packages:
        if one.extra is not None and not one.usable:
            lacking.setdefault(one.extra, []).append(one.name)
    for extra, names in lacking.items():
        yield f"For `{extra}` ({', '.join(names)} missing or too old), run: pip install 'unmingle[{extra}]'"


def _about_microphone(packages: list[Package]) -> Iterator[str]:
    """What keeps the microphone from working although its package is there: nothing else wants PortAudio."""
    from unmingle.audio.microphone import portaudio

    if any(one.name == "sounddevice" and one.usable for one in packages):
        try:
            portaudio()
        except UnmingleError as error:
            yield str(error)


def _try(probe: Callable[[], str]) -> tuple[bool, str]:
    """Run a probe; a package that breaks in any way while it is imported must not break the doctor."""
    try:
        return True, probe()
    except Exception as error:
        return False, f"{type(error).__name__}: {error}".splitlines()[0]


def _processor() -> str:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    n_threads = torch.get_num_threads()
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    return f"torch {torch.__version__}, {threads}, {', '.join(gpus) or 'no GPU (none is needed)'}"


def _sound_files() -> str:
    import soundfile

    return f"libsndfile {soundfile.__libsndfile_version__}: {len(soundfile.available_formats())} formats"


def _video_files() -> str:
    import av

    versions: dict[str, Any] = av.library_versions
    return f"FFmpeg libraries inside PyAV {av.__version__} (libavcodec {'.'.join(map(str, versions['libavcodec']))})"


def _resampling() -> str:
    import soxr

    return f"soxr {soxr.__version__}"


def _selective_scan() -> str:
    from unmingle.layers.selective_scan import describe_backends

    return f"SPMamba takes {describe_backends()}"


def _weights() -> str:
    from unmingle.inference.handle import list_models

    names = [entry.name for entry in list_models() if entry.bundled]
    if not names:
        raise FileNotFoundError("no weights are bundled with this installation; reinstall unmingle")
    return ", ".join(names)


_PARTS: dict[str, Callable[[], str]] = {
    "processor": _processor,
    "sound files": _sound_files,
    "video files": _video_files,
    "resampling": _resampling,
    "selective scan": _selective_scan,
    "weights": _weights,
}
