"""Settings of the training data: where speech and noise lie, and how dynamic mixing draws from them. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unmingle.config import check_least, check_range
from unmingle.data.crops import FRAME_RATE, SIDE
from unmingle.errors import ConfigError

_SHARES = (
    "partial_share",
    "partial_silence",
    "noise_share",
    "babble_share",
    "room_share",
    "mixed_gender_share",
    "easy_mixed_gender_share",
)


@dataclass(frozen=True)
class MixingSettings:
    """How dynamic mixing draws: every share is a probability per mixture, every pair a (lowest, highest) range.

    A speaker is drawn with probability proportional to the square root of the seconds they have, clipped to
    `speaker_seconds`: a voice with one utterance is heard, and a voice with an hour does not drown the others.

    Attributes:
        speaker_seconds: clipping range for the seconds of speech that a speaker's probability is made from.
        speed: range of the playback speed, drawn per utterance; 1.0 is unchanged.
        turn_phase: turn each voice by a phase of its own, the same for all frequencies: it sounds as before, but no
            network can know a recording by the sign and shape of its waveform.
        octave_db: standard deviation of the gain that each octave of each voice gets, in dB; 0: none.
        level_db: range of the level of the speaker drawn first over every other one, in dB; None: as recorded.
        partial_share: share of mixtures whose voices overlap in part only: one begins late, another ends early. Not of
            voices with a film, whose lips would go on.
        partial_silence: longest such silence, as a share of the segment.
        noise_share: share of mixtures that get noise.
        noise_snr_db: range of the level of the sum of the sources over the noise, in dB.
        babble_share: share of the noisy mixtures whose noise is babble, made of `babble_talkers` other speakers.
        room_share: share of mixtures heard in a simulated room.
        n_rooms: rooms simulated once per run and drawn from.
        room_targets: what the sources of a mixture in a room are: the whole reverberant voice, or its first 50 ms.
        mixed_gender_share: share of mixtures whose second speaker is of another gender than the first; None: gender
            plays no part.
        easy_steps: over these first steps the share of mixed-gender pairs moves from `easy_mixed_gender_share` to
            `mixed_gender_share`, and no noise is added; 0: no easy start.
        mixture_rms_db: range of the root mean square of the finished mixture, dB over 1.0.
        corpus_weights: how many times more often than otherwise the speakers of a corpus are drawn, by its name in the
            speech manifest: for one that is small and matters.
        same_corpus: whether the speakers of a mixture are all of one corpus, so that recordings cannot be told apart
            by their sound.
    """

    speaker_seconds: tuple[float, float] = (10.0, 600.0)
    speed: tuple[float, float] = (0.92, 1.08)
    turn_phase: bool = False
    octave_db: float = 0.0
    level_db: tuple[float, float] | None = (-5.0, 5.0)
    partial_share: float = 0.0
    partial_silence: float = 0.6
    noise_share: float = 0.35
    noise_snr_db: tuple[float, float] = (0.0, 20.0)
    babble_share: float = 0.2
    babble_talkers: int = 6
    room_share: float = 0.0
    n_rooms: int = 64
    room_targets: Literal["reverberant", "early"] = "early"
    mixed_gender_share: float | None = 0.45
    easy_mixed_gender_share: float = 0.9
    easy_steps: int = 0
    mixture_rms_db: tuple[float, float] = (0.0, 0.0)
    corpus_weights: dict[str, float] = field(default_factory=dict[str, float])
    same_corpus: bool = False

    def __post_init__(self) -> None:
        """Refuse shares outside 0..1 and ranges the wrong way round."""
        for name in _SHARES:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value}, but a share lies between 0 and 1")
        for name in ("n_rooms", "babble_talkers"):
            check_least(name, getattr(self, name), 1)
        check_least("easy_steps", self.easy_steps, 0)
        if self.octave_db < 0:
            raise ConfigError(f"octave_db is {self.octave_db}, but a standard deviation is 0 or more")
        for name in ("speaker_seconds", "speed", "level_db", "noise_snr_db", "mixture_rms_db"):
            check_range(name, getattr(self, name))
        if any(weight <= 0 for weight in self.corpus_weights.values()):
            raise ConfigError(
                f"corpus_weights are {self.corpus_weights}, but must be above 0; exclude_corpora leaves out"
            )
        if self.speed[0] <= 0 or self.speaker_seconds[0] <= 0:
            raise ConfigError(f"speed {self.speed} and speaker_seconds {self.speaker_seconds} must be above 0")


@dataclass(frozen=True)
class VideoSettings:
    """How an audio-visual network is shown the lips of one speaker per mixture. Validation is shown the plain centre.

    Attributes:
        crop: side of the square that is cut from a mouth crop, in pixels; in training at a random place, one per item.
        flip_share: share of the training items that are mirrored.
        lost_share: share of the training items whose face is lost for a while: level gray or, as often, a frame that
            stands still.
        lost_seconds: range of how long.
        every_face: in dynamic mixing, make every speaker of a mixture an item, one after the other: the same sound with
            different answers, which only a network that looks can give. Otherwise one of them is drawn, as published.
        draw: draw a mouth for every voice without a film, another one each time, that moves with what is heard of it;
            otherwise every voice must have a film.
    """

    crop: int = 88
    flip_share: float = 0.5
    lost_share: float = 0.0
    lost_seconds: tuple[float, float] = (0.2, 1.0)
    every_face: bool = False
    draw: bool = False

    def __post_init__(self) -> None:
        """Refuse shares outside 0..1 and ranges the wrong way round."""
        for name in ("flip_share", "lost_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"video.{name} is {getattr(self, name)}, but a share lies between 0 and 1")
        check_range("video.lost_seconds", self.lost_seconds)
        if not 1 <= self.crop <= SIDE:
            raise ConfigError(f"video.crop is {self.crop}, but mouth crops are {SIDE} x {SIDE} pixels")


@dataclass(frozen=True)
class DataSettings:
    """The `data` part of a recipe. Either `speech` (dynamic mixing) or `manifest` (fixed mixtures) is what trains.

    Attributes:
        sample_rate: Hz, of every batch; files at other rates are resampled when they are decoded.
        n_src: speakers per mixture, 2 or more.
        segment_seconds: length of a training segment.
        batch_size: segments per batch (per process, when several train together).
        seed: everything drawn is a function of this seed and the step.
        speech: speech for dynamic mixing: a folder `speaker/*.wav`, a speech manifest (JSON Lines) or Lhotse cuts.
        noise: noise for dynamic mixing: a folder or a manifest; without it noise is babble only.
        exclude_corpora: values of `corpus` in the speech manifest whose rows are left out.
        manifest: fixed training mixtures: a manifest, or a folder in the papers' index format.
        valid_manifest: mixtures to validate on, whole, one at a time.
        valid_speech: speech of other speakers, to make `n_valid` clean validation mixtures from; the alternative to
            `valid_manifest`.
        n_valid: validation mixtures made from `valid_speech`, of `valid_seconds` each.
        valid_seconds: length of each of those.
        normalize: fixed mixtures only: mixture and sources minus their mean, divided by the mixture's deviation.
        cache_dir: where decoded speech is kept; None: `~/.cache/unmingle`.
        n_workers: processes that make batches, at lower priority; 0: made in the training process.
        mixing: how dynamic mixing draws.
        video: for an audio-visual network, which is given one face per mixture and trained on that voice: how the face
            is shown. Then speech and mixtures name mouth crops, and `n_src` counts the voices that are heard.
    """

    sample_rate: int = 16_000
    n_src: int = 2
    segment_seconds: float = 3.0
    batch_size: int = 8
    seed: int = 0
    speech: str | None = None
    noise: str | None = None
    exclude_corpora: tuple[str, ...] = ()
    manifest: str | None = None
    valid_manifest: str | None = None
    valid_speech: str | None = None
    n_valid: int = 48
    valid_seconds: float = 3.0
    normalize: bool = False
    cache_dir: str | None = None
    n_workers: int = 1
    mixing: MixingSettings = field(default_factory=MixingSettings)
    video: VideoSettings | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that no batch can be made with, and two places to train from."""
        for name in ("sample_rate", "segment_seconds", "batch_size", "n_valid", "valid_seconds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"data.{name} is {getattr(self, name)}, but must be above 0")
        if self.segment < 1:
            raise ConfigError(f"data.segment_seconds is {self.segment_seconds}, which is not even one sample")
        for name in ("seed", "n_workers"):
            check_least(f"data.{name}", getattr(self, name), 0)
        if self.n_src < 2:
            raise ConfigError(f"data.n_src is {self.n_src}, but a mixture has 2 or more speakers")
        if self.speech and self.manifest:
            raise ConfigError("data.speech (dynamic mixing) and data.manifest (fixed mixtures) are both set; keep one")
        if self.video is not None:
            self._check_video()

    def _check_video(self) -> None:
        if self.speech and self.mixing.speed != (1.0, 1.0):
            raise ConfigError(
                f"data.mixing.speed is {list(self.mixing.speed)}, but lips keep their pace; set it to [1, 1]"
            )
        if self.normalize:
            raise ConfigError(
                "data.normalize is not made for audio-visual networks, which disregard level; leave it out"
            )
        if self.sample_rate % FRAME_RATE or self.segment % self.frame:
            raise ConfigError(
                f"a segment is {self.segment_seconds} s at {self.sample_rate} Hz; for lips it must be a whole number "
                f"of video frames, {FRAME_RATE} per second"
            )

    @property
    def frame(self) -> int:
        """Samples to a video frame."""
        return self.sample_rate // FRAME_RATE

    @property
    def segment(self) -> int:
        """Length of a training segment, in samples."""
        return round(self.segment_seconds * self.sample_rate)
