"""How well a whole conversation was separated: is everybody on one track from beginning to end, and how cleanly?

Everything is told from the inner products of the signals in short frames, so long recordings take little memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Framer, Samples
from unmingle.evaluation.activity import assign

FRAME_SECONDS = 0.5

_AUDIBLE = 10 ** (-20 / 10)  # power relative to a talker's average, from which a frame holds his speech
_LOST = 10 ** (-20 / 10)  # share of a talker's power below which no track has him
_RIDGE = 1e-3

Products = NDArray[np.float64]  # (frames, signals + 1, signals + 1); the last signal is a constant of one


def inner_products(blocks: Iterable[Samples], *, sample_rate: int) -> Products:
    """Inner products of all signals with each other, frame by frame.

    Args:
        blocks: (signals, time) pieces.
        sample_rate: Hz.
    """
    found: list[Products] = []
    framer: Framer | None = None
    for block in blocks:
        framer = framer or Framer(len(block), round(FRAME_SECONDS * sample_rate))
        found.append(_products(framer.push(block)))
    if framer is None:
        return np.zeros((0, 1, 1))
    rest = framer.push(np.zeros((found[0].shape[1] - 1, 0), np.float32), last=True)
    return np.concatenate([*found, _products(rest)])


def _products(frames: Samples) -> Products:
    exact = np.concatenate([frames, np.ones_like(frames[:1])]).transpose(1, 0, 2).astype(np.float64)
    return exact @ exact.transpose(0, 2, 1)


@dataclass(frozen=True)
class ConversationScore:
    """How well one conversation was separated. A share of speech that there is none of is nan.

    Attributes:
        tracks: for every talker, the track that is theirs over the whole recording; None when there are fewer tracks.
        wrong_share: share of the speech that is mainly on a track that is not the talker's.
        wrong_share_alone: the same of the speech of one person at a time.
        wrong_share_together: the same of the speech of several at once.
        lost_share: share of the speech that is on no track.
        wrong: (frames,) seconds of speech on a wrong track.
        spoken: (frames,) seconds of speech.
        si_snr: of each talker's track over the whole recording, dB; nan without one.
        si_snr_improvement: over the recording itself, dB.
    """

    tracks: list[int | None]
    wrong_share: float
    wrong_share_alone: float
    wrong_share_together: float
    lost_share: float
    wrong: NDArray[np.float64]
    spoken: NDArray[np.float64]
    si_snr: list[float]
    si_snr_improvement: list[float]


def score_conversation(products: Products, *, n_talkers: int) -> ConversationScore:
    """Score a conversation.

    Args:
        products: of (the recording, the talkers' own signals, the tracks), in this order.
        n_talkers: how many talk.
    """
    talkers, tracks = slice(1, 1 + n_talkers), slice(1 + n_talkers, -1)
    whole = _centred(products.sum(axis=0))
    quality = _si_snr(whole, talkers, tracks)
    pairs = dict(assign(np.maximum(quality, -100.0)))
    own = [pairs.get(talker) for talker in range(n_talkers)]
    mixed = _si_snr(whole, talkers, slice(0, 1))[:, 0]
    si_snr = [float("nan") if track is None else float(quality[talker, track]) for talker, track in enumerate(own)]
    heard, where = _where(products, talkers, tracks)
    wrong = heard & (where >= 0) & (where != np.array([-2 if track is None else track for track in own]))
    together = heard & (heard.sum(axis=1, keepdims=True) > 1)
    return ConversationScore(
        tracks=own,
        wrong_share=_share(wrong, of=heard),
        wrong_share_alone=_share(wrong, of=heard & ~together),
        wrong_share_together=_share(wrong, of=together),
        lost_share=_share(where < 0, of=heard),
        wrong=wrong.sum(axis=1) * FRAME_SECONDS,
        spoken=heard.sum(axis=1) * FRAME_SECONDS,
        si_snr=si_snr,
        si_snr_improvement=[score - float(before) for score, before in zip(si_snr, mixed, strict=True)],
    )


def _share(which: NDArray[np.bool_], *, of: NDArray[np.bool_]) -> float:
    return float((which & of).sum() / of.sum()) if of.any() else float("nan")


def _centred(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products of the signals without their means."""
    sums, length = products[:, -1], products[-1, -1]
    return products - np.outer(sums, sums) / max(length, 1.0)


def _si_snr(whole: NDArray[np.float64], talkers: slice, estimates: slice) -> NDArray[np.float64]:
    """(talkers, estimates) in dB."""
    powers = np.diag(whole)
    shared = np.square(whole[talkers, estimates]) / np.maximum(powers[talkers, np.newaxis], 1e-20)
    noise = np.maximum(powers[np.newaxis, estimates] - shared, 1e-20)
    return 10.0 * np.log10(np.maximum(shared, 1e-20) / noise)


def _where(products: Products, talkers: slice, tracks: slice) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(frames, talkers): whether a talker speaks, and on which track mainly; -1 is none of them."""
    own = products[:, talkers, talkers]
    powers = np.diagonal(own, axis1=1, axis2=2)  # (frames, talkers)
    average = powers.sum(axis=0) / np.maximum((powers > 0).sum(axis=0), 1)
    heard = powers > _AUDIBLE * np.maximum(average, 1e-20)
    # Of the signals that speak together in a frame, how much is in each track: least squares, held up by a ridge.
    ridge = _RIDGE * powers.max(axis=1)[:, np.newaxis, np.newaxis] * np.eye(powers.shape[1]) + 1e-20 * np.eye(
        powers.shape[1]
    )
    gains = np.linalg.solve(own + ridge, products[:, talkers, tracks])  # (frames, talkers, tracks)
    shares = np.square(gains)
    where = np.where(shares.max(axis=2) > _LOST, shares.argmax(axis=2), -1)
    return heard, where
