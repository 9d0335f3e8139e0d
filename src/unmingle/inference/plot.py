"""A picture of a separation: the mixture and each track, as waveform and spectrogram.

Files are read block by block into a fixed number of columns, so that a recording of hours takes no more memory than
a short one. Drawing needs the `plot` extra.

      mixture   ▁▂▅▇▅▂▁   each waveform over its spectrogram, all on one time axis
                ░▒▓▒▓▒░   and one loudness scale
      speaker 1 ...
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unmingle.audio.io import AudioReader
from unmingle.audio.temporary import whole
from unmingle.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]

_COLUMNS = 1200
_WINDOW_MS = 32
_WINDOWS_PER_COLUMN = 4  # of a long recording only these are analysed; its waveform is always read whole
_BLOCK_SECONDS = 20
_TOP_HZ = 8000  # speech has little above; one scale for all rates
_RANGE_DB = 70
_CLOCK_STEPS = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800)  # seconds between labels
_MOST_LABELS = 12
_MIXTURE_COLOUR = "#4d5563"
_TRACK_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # safe for colour-blind eyes


@dataclass(frozen=True)
class Overview:
    """What a picture shows of one signal.

    Attributes:
        low, high: extremes of the waveform per column, (columns,).
        power_db: spectrogram, (bins, columns), dB relative to a full-scale sine.
        seconds: length of the signal.
        top_hz: frequency of the last bin.
    """

    low: Array
    high: Array
    power_db: Array
    seconds: float
    top_hz: float


def plot_separation(
    mixture: str | Path,
    tracks: Sequence[str | Path],
    picture: str | Path,
    *,
    captions: Sequence[str] | None = None,
    turns: Sequence[Sequence[tuple[float, float]]] = (),
) -> Path:
    """Draw a mixture and its tracks into one PNG (or PDF, SVG: the suffix decides).

    Args:
        mixture: the recording; only its sound is drawn.
        tracks: the separated files, all of one length.
        picture: file to write, whole or not at all.
        captions: what to write over each track; without them, `speaker 1`, `speaker 2` ...
        turns: per track, from which to which second its speaker talks; drawn as a strip for each below everything.

    Returns:
        The path of the picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing a picture") from error
    overviews = [overview(track) for track in tracks]
    seconds = max(one.seconds for one in overviews)
    overviews.insert(0, overview(mixture, seconds=seconds))
    height = 0.6 + 2.1 * len(overviews) + (0.4 + 0.25 * len(turns) if turns else 0.0)
    figure = Figure(figsize=(11, height), dpi=120, layout="constrained")
    names = captions or [f"speaker {number}" for number in range(1, len(overviews))]
    _draw(figure, overviews, captions=[Path(mixture).name, *names], turns=turns)
    return _save(figure, Path(picture))


def overview(path: str | Path, *, seconds: float | None = None) -> Overview:
    """Read a file of any length into a fixed number of columns.

    Args:
        path: the file; several channels are averaged.
        seconds: its length, where the file itself does not say; what lies beyond is left out.
    """
    with AudioReader(path) as reader:
        rate = int(reader.sample_rate)
        total = round(seconds * rate) if seconds is not None else int(reader.frames or 0)
        window = max(16, 2 * (rate * _WINDOW_MS // 2000))
        columns = max(1, min(_COLUMNS, 4 * total // window))
        bins = 1 + window // 2
        shown = max(2, min(bins, 1 + round(_TOP_HZ * window / rate)))
        low, high, power = (np.zeros(shape, np.float32) for shape in (columns, columns, (shown, columns)))
        edges = np.linspace(0, total, columns + 1).round().astype(np.int64)
        recent = np.zeros(window, np.float32)
        for column, samples in enumerate(_pieces(reader, edges)):
            low[column], high[column] = samples.min(initial=0), samples.max(initial=0)
            recent = np.concatenate([recent, samples])[-max(window, samples.size) :]
            power[:, column] = _spectrum(recent, window)[:shown]
    power_db = 10 * np.log10(power + 1e-12)
    return Overview(low, high, power_db.astype(np.float32), total / rate, (shown - 1) * rate / window)


def _pieces(reader: AudioReader, edges: npt.NDArray[np.int64]) -> Iterator[Array]:
    """Cut a stream of blocks at the edges, holding one block and one piece at a time; zeros beyond the end."""
    blocks = iter(reader.blocks(_BLOCK_SECONDS * int(reader.sample_rate)))
    held = np.zeros(0, np.float32)
    for wanted in np.diff(edges):
        while held.size < wanted and (block := next(blocks, None)) is not None:
            held = np.concatenate([held, block.mean(axis=0)])
        piece, held = held[:wanted], held[wanted:]
        yield np.pad(piece, (0, int(wanted) - piece.size))


def _spectrum(samples: Array, window: int) -> Array:
    """Mean power of a few windows spread over the samples, (1 + window // 2,), a full-scale sine giving 1."""
    starts = np.unique(np.linspace(0, samples.size - window, _WINDOWS_PER_COLUMN).astype(int))
    frames = np.stack([samples[start : start + window] for start in starts])
    taper = np.hanning(window).astype(np.float32)
    spectra = np.fft.rfft(frames * taper) / (taper.sum() / 2)
    return np.mean(np.abs(spectra) ** 2, axis=0).astype(np.float32)


def _draw(
    figure: Figure,
    overviews: Sequence[Overview],
    *,
    captions: Sequence[str],
    turns: Sequence[Sequence[tuple[float, float]]],
) -> None:
    heights = [*([1, 2] * len(overviews)), *([0.35 * len(turns)] if turns else [])]
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights, hspace=0.02)
    peak = max(0.01, *(float(max(-one.low.min(), one.high.max())) for one in overviews))
    top_db = float(np.percentile(overviews[0].power_db, 99.8))
    first: Axes | None = None
    for row, one in enumerate(overviews):
        colour = _MIXTURE_COLOUR if row == 0 else _TRACK_COLOURS[(row - 1) % len(_TRACK_COLOURS)]
        wave = figure.add_subplot(grid[2 * row], sharex=first)
        first = first or wave
        _draw_waveform(wave, one, peak=peak, colour=colour)
        wave.set_title(captions[row], loc="left", color=colour, fontweight="bold", parse_math=False)  # a file's name
        spectrogram = figure.add_subplot(grid[2 * row + 1], sharex=first)
        _draw_spectrogram(spectrogram, one, top_db=top_db)
        if row < len(overviews) - 1 or turns:
            spectrogram.tick_params(labelbottom=False)
        else:
            _label_time(spectrogram, one.seconds)
    if turns:
        strips = figure.add_subplot(grid[-1], sharex=first)
        _draw_turns(strips, turns)
        _label_time(strips, overviews[0].seconds)


def _draw_turns(axes: Axes, turns: Sequence[Sequence[tuple[float, float]]]) -> None:
    for row, spans in enumerate(turns):
        colour = _TRACK_COLOURS[row % len(_TRACK_COLOURS)]
        axes.broken_barh([(start, end - start) for start, end in spans], (-row - 0.35, 0.7), color=colour)
    axes.set(ylim=(-len(turns) + 0.4, 0.6), yticks=[])
    axes.set_title("who speaks when", loc="left", color=_MIXTURE_COLOUR, fontweight="bold")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_waveform(axes: Axes, one: Overview, *, peak: float, colour: str) -> None:
    times = (np.arange(one.low.size) + 0.5) * one.seconds / one.low.size
    axes.fill_between(times, one.low, one.high, color=colour, linewidth=0.4)
    axes.set(ylim=(-1.05 * peak, 1.05 * peak), yticks=[])
    axes.tick_params(bottom=False, labelbottom=False)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)


def _draw_spectrogram(axes: Axes, one: Overview, *, top_db: float) -> None:
    extent = (0.0, one.seconds, 0.0, one.top_hz / 1000)
    axes.imshow(
        one.power_db,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=top_db - _RANGE_DB,
        vmax=top_db,
        interpolation="antialiased",
    )
    axes.locator_params(axis="y", nbins=5, integer=True)
    axes.set_ylabel("kHz")


def _label_time(axes: Axes, seconds: float) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    def clock(time: float, _position: Any) -> str:
        minutes, rest = divmod(round(time), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if seconds >= 3600 else f"{minutes}:{rest:02d}"

    if seconds >= 60:
        step = next((step for step in _CLOCK_STEPS if seconds / step <= _MOST_LABELS), _CLOCK_STEPS[-1])
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(FuncFormatter(clock))
    axes.set_xlabel("time" if seconds >= 60 else "time (s)")


def _save(figure: Figure, picture: Path) -> Path:
    with whole(picture) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in scripts that the font lacks show as boxes
        figure.savefig(draft, format=picture.suffix.removeprefix(".") or None)
    return picture
