"""Separation of samples in memory: arrays or tensors in, the same kind out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples
from unmingle.audio.resample import check_sample_rate
from unmingle.audio.survey import plan_downmix, survey
from unmingle.errors import ConfigError, ShapeError
from unmingle.inference import engine
from unmingle.inference.handle import Model, load_model, require_sound_alone
from unmingle.inference.identity import enrol_all, identify
from unmingle.inference.report import SeparationOptions
from unmingle.inference.store import TrackStore
from unmingle.voices.enrolment import Enrolled

if TYPE_CHECKING:
    from torch import Tensor

Signal = TypeVar("Signal", "NDArray[np.floating[Any]]", "Tensor")

_LAST_IS_CHANNELS = 8  # a last axis of at most this many, after a long one, is (time, channels)


def separate(
    model: Model | str | Path | None,
    mixture: Signal,
    *,
    sample_rate: int,
    options: SeparationOptions | None = None,
) -> Signal:
    """Separate samples of any rate and length; the tracks of each mixture sum to it.

    A constant offset is removed. A silent mixture gives silent tracks. Gradients do not flow through.

    Args:
        model: a model, its name, or the path of its weights; None is the default model.
        mixture: (time,) or a batch (batch, time), floats of which 1.0 is full scale; an array, or a tensor on any
            device. Several channels of one recording are not a batch: average them first.
        sample_rate: Hz of the mixture and of the result; any, the model's or not.
        options: how to separate.

    Returns:
        (n_src, time) or (batch, n_src, time), float32, of the mixture's kind and on its device. A residual, when kept,
        is the last source.

    Raises:
        ShapeError: neither an array nor a tensor, not floating-point, or of another shape.
        SignalError: no samples, shorter than 0.1 s, NaN or infinite; nobody of those that `options.only` names.
        MissingFileError, AudioReadError: an enrolment cannot be used.
        SampleRateError: a rate at which nobody records.
        ConfigError: an audio-visual model, which wants a video too; a batch whose mixtures may hold different numbers
            of voices.
        UnknownModelError, CheckpointError: the model is not to be had.
    """
    options = options or SeparationOptions()
    check_sample_rate(sample_rate, name="the mixture")
    sample_rate = int(sample_rate)
    samples = _as_array(mixture)
    batch = samples if samples.ndim == 2 else samples[np.newaxis]
    model = model if isinstance(model, Model) else load_model(model)
    require_sound_alone(model.config, name=model.name)
    if len(batch) > 1 and (options.n_speakers not in (None, model.n_src) or options.enroll):
        raise ConfigError(
            f"a batch of {len(batch)} mixtures gives an array, but voices that are counted or enrolled may be more in "
            f"one mixture than in another; separate them one at a time, or as the {model.n_src} of {model.name}"
        )
    enrolled = enrol_all(options)
    results = [_separate_one(model, one, sample_rate=sample_rate, options=options, enrolled=enrolled) for one in batch]
    estimates = np.stack(results) if samples.ndim == 2 else results[0]
    if isinstance(mixture, np.ndarray):
        return estimates
    import torch

    return torch.from_numpy(estimates).to(mixture.device)


def _separate_one(
    model: Model, mixture: Samples, *, sample_rate: int, options: SeparationOptions, enrolled: Sequence[Enrolled]
) -> Samples:
    recording = survey(
        _blocks(mixture, sample_rate), sample_rate=sample_rate, channels=1, name="the mixture", silence=True
    )
    downmix = plan_downmix(recording)
    store = TrackStore(model.n_src)
    heard = engine.listen(
        model, _blocks(mixture, sample_rate), recording, downmix, options, store=store, second_look=False
    )
    plan = identify(heard, options, enrolled)
    pieces: list[Samples] = []
    measures = engine.hand_out(
        _blocks(mixture, sample_rate),
        heard,
        plan.routing,
        recording,
        downmix,
        options,
        sink=pieces.append,
    )
    gains = np.asarray(engine.level_gains(measures, options), np.float32)[:, np.newaxis]
    return (np.concatenate(pieces, axis=1) * gains)[plan.rows(residual=options.keep_residual)]


def _blocks(mixture: Samples, sample_rate: int) -> Iterator[Samples]:
    size = round(engine.BLOCK_SECONDS * sample_rate)
    for start in range(0, mixture.shape[0], size):
        yield mixture[np.newaxis, start : start + size]


def _as_array(mixture: object) -> Samples:
    """The samples as float32, checked to be (time,) or (batch, time)."""
    if isinstance(mixture, np.ndarray):
        samples: NDArray[Any] = mixture
    elif type(mixture).__module__.startswith("torch"):
        tensor: Any = mixture
        samples = (tensor.detach().float() if tensor.is_floating_point() else tensor).cpu().numpy()
    else:
        raise ShapeError(
            f"the mixture is a {type(mixture).__name__}; give a numpy array or a torch tensor of floats, "
            "for a list numpy.asarray(mixture, dtype=numpy.float32)"
        )
    if not np.issubdtype(samples.dtype, np.floating):
        raise ShapeError(
            f"the mixture holds {samples.dtype} values; give floats of which 1.0 is full scale, for 16-bit integers "
            "mixture.astype('float32') / 32768"
        )
    _check_shape(samples.shape)
    return samples.astype(np.float32, copy=False)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] == 0):
        raise ShapeError(f"the mixture has shape {shape}; give (time,) or (batch, time)")
    if len(shape) == 2 and shape[1] <= _LAST_IS_CHANNELS < shape[0]:
        raise ShapeError(
            f"the mixture has shape {shape}, which looks like (time, channels); give (time,) or (batch, time): "
            "average the channels of one recording with mixture.mean(axis=1)"
        )
