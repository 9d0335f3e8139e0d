r"""A voice per face by the lips: an audio-visual network hears the mixture once for every face that it watches.

    seen       ...|######## present ########|.....gap.....|##### present #####|...
    looked at    [------ context, crops held at the ends ------]      half a second on either side
    windows      [----- 4 s -----]
                         [----- 4 s -----]                 every 2 s, whole video frames, cross-faded
    heard     ___/==============================\_____________________________    20 ms fades

Where a face is not seen its track is silent: no network was trained to hear somebody whom it does not see. Lips decide
who is heard, so tracks never change places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples, runs_of_true
from unmingle.errors import CheckpointError, ConfigError
from unmingle.inference.running import running
from unmingle.panel import timeline
from unmingle.video.tracks import CLOCK_RATE, FaceTrack

if TYPE_CHECKING:
    from unmingle.inference.handle import Model
    from unmingle.models.iianet import IIANet

CONTEXT_TICKS = 13
"""Half a second, by which the network looks beyond what is seen of a face."""

_WINDOW, _STEP = 100, 50  # ticks
_BATCH, _MARGIN = 200, 2  # crops that are embedded at once, and their neighbours that the lip reader sees
_LEVEL = 0.05  # RMS at which every window is heard
_INAUDIBLE = 1e-5  # RMS

Read = Callable[[int, int], Samples]
"""(start, stop) -> (time,) samples of the mixture; zero beyond its end."""

Span = tuple[int, int]
"""From which tick to which."""


def looked_at(face: FaceTrack) -> list[Span]:
    """Stretches of ticks in which a face is seen, with context; those that touch are one."""
    n_ticks = len(face.present)
    stretches: list[Span] = []
    for begin, end in runs_of_true(face.present):
        start, stop = max(0, begin - CONTEXT_TICKS), min(n_ticks, end + CONTEXT_TICKS)
        if stretches and start <= stretches[-1][1]:
            start = stretches.pop()[0]
        stretches.append((start, stop))
    return stretches


def windows(start: int, stop: int) -> list[Span]:
    """Windows of 4 s every 2 s; the last is moved back to be whole, and a shorter stretch is a window itself."""
    if stop - start <= _WINDOW:
        return [(start, stop)]
    return [(first, first + _WINDOW) for first in (*range(start, stop - _WINDOW, _STEP), stop - _WINDOW)]


class LipListener:
    """Runs an audio-visual network over the whole time that a face is seen."""

    def __init__(self, model: Model) -> None:
        """Take the network.

        Raises:
            ConfigError: it has no lip reader, or another clock than the faces.
        """
        self._model = model
        self._network: IIANet = _seeing_network(model)
        self._samples_per_tick = round(model.sample_rate / CLOCK_RATE)

    def listen(self, face: FaceTrack, read: Read, n_samples: int) -> Iterator[Samples]:
        """The voice of a face at the network's rate, in (time,) pieces that add up to `n_samples`."""
        at = 0
        for start, stop in looked_at(face):
            begin = min(start * self._samples_per_tick, n_samples)
            yield from _silence(at, begin)
            at = begin
            for piece in self._stretch(face, start, stop, read):
                kept = piece[: max(0, n_samples - at)]
                gain = timeline.gain(
                    [_faded(start, stop, len(face.present))],
                    start=at,
                    length=len(kept),
                    sample_rate=self._model.sample_rate,
                )
                yield kept * gain
                at += len(kept)
        yield from _silence(at, n_samples)

    def _stretch(self, face: FaceTrack, start: int, stop: int, read: Read) -> Iterator[Samples]:
        """One stretch in overlapping windows, given out as soon as no later window changes it."""
        visual = self._embed(_held_crops(face, start, stop))
        spans = windows(start, stop)
        total, weight = np.zeros(0, np.float32), np.zeros(0, np.float32)
        for index, (first, last) in enumerate(spans):
            estimate = self._window(read, visual[:, first - start : last - start], first, last)
            fade = _weights(len(estimate), first=index == 0, last=index == len(spans) - 1)
            missing = len(estimate) - len(total)
            total = np.pad(total, (0, missing)) + estimate * fade
            weight = np.pad(weight, (0, missing)) + fade
            following = spans[index + 1][0] if index + 1 < len(spans) else last
            done = (following - first) * self._samples_per_tick
            yield (total[:done] / weight[:done]).astype(np.float32)
            total, weight = total[done:], weight[done:]

    def _window(self, read: Read, visual: NDArray[np.float32], first: int, last: int) -> Samples:
        """(channels, ticks) of lips and the mixture from tick to tick -> (time,) voice at the mixture's level."""
        import torch

        mixture = read(first * self._samples_per_tick, last * self._samples_per_tick)
        level = float(np.sqrt(np.mean(np.square(mixture, dtype=np.float64))))
        if level < _INAUDIBLE:
            return np.zeros_like(mixture)
        with running():
            heard = torch.from_numpy(mixture * np.float32(_LEVEL / level))[None].to(self._model.device)
            estimate = self._network(heard, torch.from_numpy(visual)[None].to(self._model.device))
        voice = estimate[0, 0].float().cpu().numpy() * np.float32(level / _LEVEL)
        if not np.isfinite(voice).all():
            raise CheckpointError("the network's output is not a number (NaN); its weights are damaged or untrained")
        return voice

    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(ticks, height, width) -> (channels, ticks), a few hundred crops at a time."""
        import torch

        from unmingle.models.lipreading import prepare_crops

        lips = self._network.lips
        size = 88 if lips is None else lips.config.crop
        parts: list[NDArray[np.float32]] = []
        for start in range(0, len(crops), _BATCH):
            stop = min(start + _BATCH, len(crops))
            first, last = max(0, start - _MARGIN), min(len(crops), stop + _MARGIN)
            with running():
                prepared = prepare_crops(torch.from_numpy(np.array(crops[first:last]))[None], size=size)
                embedding = self._network.read_lips(prepared.to(self._model.device))
            parts.append(embedding[0, :, start - first : stop - first].float().cpu().numpy())
        return np.concatenate(parts, axis=1)


def _seeing_network(model: Model) -> IIANet:
    from unmingle.models.iianet import IIANet

    network = model.network
    if not isinstance(network, IIANet) or network.lips is None:
        raise ConfigError(
            f"{model.name} carries no lip reader, so it cannot watch a video; import it again together with its "
            "lip-reading file (unmingle import --lip-reading FILE)"
        )
    config = network.config
    if config.frame_rate != CLOCK_RATE or config.n_src != 1 or config.sample_rate % config.frame_rate:
        raise ConfigError(
            f"{model.name} wants {config.frame_rate} pictures per second at {config.sample_rate} Hz and gives "
            f"{config.n_src} voices for a face; videos are watched at {CLOCK_RATE:g}, a whole number of samples apart, "
            "for one voice"
        )
    return network


def _held_crops(face: FaceTrack, start: int, stop: int) -> NDArray[np.uint8]:
    """(stop - start, height, width): the crops of a stretch; where the face is not seen, the nearest that is."""
    if face.crops is None:
        raise ValueError(f"{face.name} came without mouth crops")
    seen = np.flatnonzero(face.present[start:stop]) + start
    ticks = np.arange(start, stop)
    after = np.clip(np.searchsorted(seen, ticks), 0, len(seen) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(seen[before] - ticks) <= np.abs(seen[after] - ticks), seen[before], seen[after])
    return face.crops[nearest]


def _weights(length: int, *, first: bool, last: bool) -> Samples:
    """A triangle that is nowhere zero, without its outer slope in the first and the last window."""
    weights = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5).astype(np.float32)
    middle = length // 2
    if first:
        weights[:middle] = weights.max()
    if last:
        weights[middle:] = weights.max()
    return weights


def _faded(start: int, stop: int, n_ticks: int) -> timeline.Stretch:
    """A stretch in seconds; no fade where the recording itself begins or ends."""
    half = 0.01  # the fade lies inside
    return (
        -np.inf if start == 0 else start / CLOCK_RATE + half,
        np.inf if stop == n_ticks else stop / CLOCK_RATE - half,
    )


def _silence(start: int, stop: int) -> Iterator[Samples]:
    for position in range(start, stop, 1 << 16):
        yield np.zeros(min(1 << 16, stop - position), np.float32)
