"""Dynamic mixing: mixtures made while training, each a pure function of (seed, number of the mixture).

    sample number = (step * world_size + rank) * batch_size + place in the batch

Nothing is remembered between samples, so a resumed run sees exactly the mixtures it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.levels import gain_from_db
from unmingle.data.batch import Batch, batch_of
from unmingle.data.rooms import RoomBank
from unmingle.data.settings import DataSettings
from unmingle.data.speech import speaker_corpora
from unmingle.data.store import Store, open_store
from unmingle.errors import ConfigError, did_you_mean
from unmingle.simulation.mixing import (
    at_level,
    balanced_levels,
    interpolate,
    level_db,
    noise_at_snr,
    recolour,
    repeat_to,
    rms,
)
from unmingle.simulation.pool import SpeakerPool

Samples = NDArray[np.float32]

SILENT_RMS = 1e-3  # -60 dB: a pause, not a voice
ATTEMPTS = 20
OCTAVES = 7  # from half the rate down, each with a gain of its own: at 16 kHz those of 8000 to 125 Hz
FLOOR_DB = -120.0  # the level of a voice that is not heard at all


class Place(NamedTuple):
    """Where a voice was cut: sample `start` of an utterance begins the segment; it may lie before the first."""

    utterance: int
    start: int


class Mixed(NamedTuple):
    """A mixture, what it is made of, and where that was found."""

    mixture: Samples  # (time,)
    sources: Samples  # (n_src, time)
    places: list[Place]  # of the sources


class DynamicMixing:
    """An endless source of batches made from single voices; see `MixingSettings` for what is drawn."""

    def __init__(
        self,
        settings: DataSettings,
        *,
        rank: int = 0,
        world_size: int = 1,
        progress: Callable[[int, int], None] | None = None,
        grid: int = 1,
        whole: Collection[str] = (),
    ) -> None:
        """Decode the speech and noise that the settings name, or find them decoded.

        Args:
            settings: `speech` must be set.
            rank: number of this process among `world_size` that train together.
            world_size: how many processes train together; each sees other mixtures.
            progress: called with (utterances done, utterances in all) while decoding.
            grid: utterances are cut at multiples of so many samples.
            whole: ids of utterances that are never made to begin late or end early.

        Raises:
            ConfigError: there is no speech, or too few speakers.
        """
        if not settings.speech:
            raise ConfigError("dynamic mixing needs data.speech: a folder speaker/*.wav, a manifest or Lhotse cuts")
        self.settings = settings
        self.rank = rank
        self.world_size = world_size
        self.grid, self.whole = grid, frozenset(whole)
        self.speech = _open(settings, settings.speech, speakers=True, progress=progress)
        self.noise = _open(settings, settings.noise, speakers=False, progress=None) if settings.noise else None
        self.pool = SpeakerPool(
            self.speech.utterances,
            sample_rate=settings.sample_rate,
            speaker_seconds=settings.mixing.speaker_seconds,
            weights=_weights(settings),
        )
        self._corpora = _corpora(settings, self.pool.speakers) if settings.mixing.same_corpus else None
        self._check_speakers()
        self._by_gender = {gender: self.pool.of_gender(gender) for gender in {"F", "M"} & set(self.pool.genders)}
        self.rooms = RoomBank.open(settings) if settings.mixing.room_share else None

    def _check_speakers(self) -> None:
        if len(self.pool.speakers) < self.settings.n_src:
            raise ConfigError(
                f"a mixture wants {self.settings.n_src} different speakers, but {self.settings.speech} has "
                f"{len(self.pool.speakers)}"
            )

    def batch(self, step: int) -> Batch:
        """Batch of one step; the same for the same settings, rank and step, whatever was asked before."""
        first = (step * self.world_size + self.rank) * self.settings.batch_size
        numbers = range(first, first + self.settings.batch_size)
        items = [self.sample(number, step=step) for number in numbers]
        return batch_of(items, [self.is_mixed_gender(number, step=step) for number in numbers])

    def sample(self, number: int, *, step: int) -> tuple[Samples, Samples]:
        """One mixture (time,) and its sources (n_src, time), float32, women first; see `mix`."""
        mixture, sources, _ = self.mix(number, step=step)
        genders = [self.pool.genders[speaker] for speaker in self._speakers(self._rng(number), self._ease(step))]
        return mixture, sources[sorted(range(len(sources)), key=lambda place: genders[place] != "F")]

    def mix(self, number: int, *, step: int) -> Mixed:
        """One mixture, its sources, float32, and where they were cut.

        Args:
            number: of the sample; with the seed it decides everything drawn.
            step: training step, for the easy start alone.
        """
        settings = self.settings.mixing
        rng = self._rng(number)
        ease = self._ease(step)
        speakers = self._speakers(rng, ease)
        voices, places = zip(*[self._voice(rng, speaker) for speaker in speakers], strict=True)
        voices = [self._recoloured(rng, voice) for voice in voices]
        levels = self._levels(rng, voices)
        heard = wanted = np.stack([at_level(voice, level) for voice, level in zip(voices, levels, strict=True)])
        if rng.random() < settings.partial_share and not self._has_whole(places):
            self._shorten(rng, heard)
        if self.rooms and rng.random() < settings.room_share:
            heard, wanted = self.rooms.through(rng, heard)
        mixture = heard.sum(0)
        if ease == 0 and rng.random() < settings.noise_share:
            mixture = mixture + self._noise(rng, mixture, speakers)
        level = rng.uniform(*settings.mixture_rms_db)
        scale = gain_from_db(level) / max(rms(mixture), SILENT_RMS)
        return Mixed((mixture * scale).astype(np.float32), (wanted * scale).astype(np.float32), list(places))

    def is_mixed_gender(self, number: int, *, step: int = 0) -> bool | None:
        """Whether the speakers of a sample are of two genders; None when a gender is not known."""
        speakers = self._speakers(self._rng(number), self._ease(step))
        genders = {self.pool.genders[speaker] for speaker in speakers}
        return None if None in genders else len(genders) > 1

    def voices_of(self, number: int, *, step: int = 0) -> list[str]:
        """The speakers of a sample, by name, in the order of `mix`."""
        return [self.pool.speakers[speaker] for speaker in self._speakers(self._rng(number), self._ease(step))]

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, number])

    def _ease(self, step: int) -> float:
        """1.0 at the first step of the easy start, 0.0 from its end on."""
        easy_steps = self.settings.mixing.easy_steps
        return max(0.0, 1 - step / easy_steps) if easy_steps else 0.0

    def _speakers(self, rng: np.random.Generator, ease: float) -> list[int]:
        """Different speakers; the second of the same gender as the first, or not, by the share wanted."""
        settings = self.settings.mixing
        speakers = [self.pool.draw_speaker(rng)]
        gender = self.pool.genders[speakers[0]]
        among = None
        if settings.mixed_gender_share is not None and gender in self._by_gender:
            hard, easy = settings.mixed_gender_share, settings.easy_mixed_gender_share
            mixed = rng.random() < hard + ease * (easy - hard)
            among = self._by_gender[gender] ^ mixed
        if self._corpora is not None:
            near = self._corpora == self._corpora[speakers[0]]
            among = near & among if among is not None and (near & among & ~self._is(speakers)).any() else near
        for _ in range(self.settings.n_src - 1):
            speakers.append(self.pool.draw_speaker(rng, without=speakers, among=among))
            among = None if self._corpora is None else self._corpora == self._corpora[speakers[0]]
        return speakers

    def _is(self, speakers: list[int]) -> NDArray[np.bool_]:
        return np.isin(np.arange(len(self.pool.speakers)), speakers)

    def _levels(self, rng: np.random.Generator, voices: Sequence[Samples]) -> list[float]:
        wanted = self.settings.mixing.level_db
        if wanted is None:
            return [float(np.clip(level_db(voice), FLOOR_DB, None)) for voice in voices]
        return balanced_levels([rng.uniform(*wanted) for _ in voices[1:]])

    def _voice(self, rng: np.random.Generator, speaker: int) -> tuple[Samples, Place]:
        """A stretch of a speaker's speech without pauses as long as itself, played a little faster or slower."""
        voice, place = self._cut(rng, speaker)
        for _ in range(ATTEMPTS - 1):
            if rms(voice) > SILENT_RMS:
                break
            voice, place = self._cut(rng, speaker)
        return voice, place

    def _recoloured(self, rng: np.random.Generator, voice: Samples) -> Samples:
        settings = self.settings.mixing
        if not settings.turn_phase and not settings.octave_db:
            return voice
        return recolour(
            voice,
            phase=rng.uniform(0, 2 * np.pi) if settings.turn_phase else 0.0,
            octaves_db=rng.normal(0, settings.octave_db, OCTAVES).tolist() if settings.octave_db else [],
            sample_rate=self.settings.sample_rate,
        )

    def _has_whole(self, places: Sequence[Place]) -> bool:
        return any(self.speech.utterances[place.utterance].id in self.whole for place in places)

    def _shorten(self, rng: np.random.Generator, voices: Samples) -> None:
        """Let one voice of (n_src, time) begin late and another end early, in place."""
        late, early = rng.permutation(len(voices))[:2]
        length = voices.shape[-1]
        silences = rng.uniform(0, self.settings.mixing.partial_silence, size=2) * length
        voices[late, : int(silences[0])] = 0
        voices[early, length - int(silences[1]) :] = 0

    def _cut(self, rng: np.random.Generator, speaker: int) -> tuple[Samples, Place]:
        length = self.settings.segment
        speed = rng.uniform(*self.settings.mixing.speed)
        wanted = int(length * speed) + 2
        index = self.pool.draw_utterance(rng, speaker)
        spare = self.speech.utterances[index].n_samples - wanted
        start = self._on_grid(rng, spare) if spare > 0 else 0
        voice = self.speech.read(index, start, wanted)
        if len(voice) < wanted:
            before = self._on_grid(rng, wanted - len(voice))
            voice = np.pad(voice, (before, wanted - len(voice) - before))
            start -= before
        voice = interpolate(voice, speed=speed, length=length)
        return voice - voice.mean(), Place(index, start)

    def _on_grid(self, rng: np.random.Generator, most: int) -> int:
        """A multiple of the grid from 0 to `most`."""
        return self.grid * int(rng.integers(most // self.grid + 1))

    def _noise(self, rng: np.random.Generator, speech: Samples, speakers: list[int]) -> Samples:
        settings = self.settings.mixing
        babble = self.noise is None or rng.random() < settings.babble_share
        noise = self._babble(rng, speakers) if babble else self._recorded(rng, self.noise)
        return noise_at_snr(speech, noise, rng.uniform(*settings.noise_snr_db)).astype(np.float32)

    def _babble(self, rng: np.random.Generator, speakers: list[int]) -> Samples:
        """Several voices at once, none of them of the mixture's own speakers unless there are no others."""
        taken = speakers if len(self.pool.speakers) > len(speakers) else []
        talkers = [self.pool.draw_speaker(rng, without=taken) for _ in range(self.settings.mixing.babble_talkers)]
        return np.sum([at_level(self._voice(rng, talker)[0], 0.0) for talker in talkers], axis=0)

    def _recorded(self, rng: np.random.Generator, noise: Store | None) -> Samples:
        assert noise is not None
        length = self.settings.segment
        index = int(rng.integers(len(noise)))
        spare = noise.utterances[index].n_samples - length
        samples = repeat_to(noise.read(index, int(rng.integers(spare + 1)) if spare > 0 else 0, length), length)
        return samples - samples.mean()


def _weights(settings: DataSettings) -> dict[str, float]:
    """How many times more often each speaker is drawn, by name."""
    wanted = settings.mixing.corpus_weights
    if not wanted:
        return {}
    corpus_of = speaker_corpora(settings.speech or "", exclude_corpora=settings.exclude_corpora)
    known = set(corpus_of.values())
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"corpus_weights names {name!r}, but the corpora of {settings.speech} are "
                f"{', '.join(sorted(map(str, known)))}{did_you_mean(name, map(str, known))}"
            )
    return {speaker: wanted.get(str(corpus), 1.0) for speaker, corpus in corpus_of.items()}


def _corpora(settings: DataSettings, speakers: Sequence[str]) -> NDArray[np.str_]:
    corpus_of = speaker_corpora(settings.speech or "", exclude_corpora=settings.exclude_corpora)
    return np.array([str(corpus_of[speaker]) for speaker in speakers])


def _open(settings: DataSettings, path: str, *, speakers: bool, progress: Callable[[int, int], None] | None) -> Store:
    return open_store(
        path,
        sample_rate=settings.sample_rate,
        cache_dir=settings.cache_dir,
        exclude_corpora=settings.exclude_corpora,
        speakers=speakers,
        progress=progress,
    )
