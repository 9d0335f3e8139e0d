"""One mixture from a recipe and a number: who speaks, which stretch, how loud, in which room, over what noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.levels import gain_from_db
from unmingle.errors import ConfigError
from unmingle.simulation.conversation import ConversationSettings, Turn, plan_turns, speak
from unmingle.simulation.mixing import (
    Signal,
    balanced_levels,
    fit_lengths,
    noise_at_snr,
    on_int16_grid,
    repeat_to,
    rms,
)
from unmingle.simulation.pool import SpeakerPool, Utterance
from unmingle.simulation.recipe import SimulationRecipe
from unmingle.simulation.rooms import draw_room, early_part, reverberate, stack_responses

SILENT_RMS = 1e-3  # -60 dB: a pause or a digital zero, not a voice
ATTEMPTS = 20
PEAK = 0.98


@dataclass(frozen=True)
class SimulatedMixture:
    """A mixture in 16 bits, and what it is made of: the sum of sources and noise, exactly, unless targets are early."""

    mixture: NDArray[np.int16]  # (time,)
    sources: NDArray[np.int16]  # (n_src, time)
    noise: NDArray[np.int16] | None  # (time,)
    utterances: tuple[Utterance, ...]
    level_db: tuple[float, ...]  # of the voices in the mixture; their mean is 0
    snr_db: float | None  # of the sum of the voices over the noise
    in_room: bool
    turns: tuple[Turn, ...] = ()  # of a conversation


class Simulator:
    """Mixtures of a recipe by number. `mixture(k)` depends on the recipe and k alone."""

    def __init__(
        self,
        recipe: SimulationRecipe,
        utterances: Sequence[Utterance],
        read_speech: Callable[[Utterance], Signal],
        *,
        noises: Sequence[Callable[[], Signal]] = (),
        rirs: Sequence[NDArray[np.float32]] = (),
    ) -> None:
        """Take the utterances that are long enough.

        Args:
            recipe: what to make.
            utterances: all speech at hand, lengths at the recipe's rate.
            read_speech: the samples of an utterance, (time,) at the recipe's rate.
            noises: the noises, each read when called.
            rirs: measured impulse responses, one dimension each, in place of simulated rooms.

        Raises:
            ConfigError: too few speakers have utterances that are long enough, or of the genders wanted.
        """
        self.recipe = recipe
        self.limit = None if recipe.seconds is None else round(recipe.seconds * recipe.sample_rate)
        shortest = self.limit if self.limit and recipe.mode == "min" and not recipe.conversation else 1
        usable = [utterance for utterance in utterances if utterance.n_samples >= shortest]
        if not usable:
            raise ConfigError(f"none of the {len(utterances)} utterances lasts {recipe.seconds} s; lower `seconds`")
        self.pool = SpeakerPool(usable, sample_rate=recipe.sample_rate, speaker_seconds=recipe.speaker_seconds)
        self.read_speech = read_speech
        self.noises = noises
        self.rirs = rirs
        self._check_genders()

    def _check_genders(self) -> None:
        for pair in self.recipe.pair_types:
            for gender in set(pair):
                if self.pool.genders.count(gender) < pair.count(gender):
                    raise ConfigError(
                        f"pair type {pair} wants {pair.count(gender)} speakers of gender {gender}, but the usable "
                        f"speech has {self.pool.genders.count(gender)}; the manifest's rows need `gender`"
                    )
        n_src = self.recipe.conversation.talkers[1] if self.recipe.conversation else self.recipe.n_src
        if len(self.pool.speakers) < n_src:
            raise ConfigError(
                f"a mixture wants {n_src} different speakers, but the usable speech has {len(self.pool.speakers)}"
            )

    def mixture(self, number: int) -> SimulatedMixture:
        """Mixture `number` of the recipe, counted from 0."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, number])
        if recipe.conversation is not None:
            return self._conversation(rng, recipe.conversation)
        chosen, voices = zip(*(self._voice(rng, speaker) for speaker in self._speakers(rng, number)), strict=True)
        levels = balanced_levels([rng.uniform(*recipe.level_db) for _ in chosen[1:]])
        if recipe.mode == "min":
            voices = tuple(fit_lengths(voices, "min"))
        in_room = rng.random() < recipe.room_share
        heard, wanted = self._through_room(rng, voices) if in_room else (voices, voices)
        # A voice is scaled by what is heard of it, before silence is appended: its level is that of its speech.
        scales = [gain_from_db(level) / max(rms(voice), SILENT_RMS) for level, voice in zip(levels, heard, strict=True)]
        heard = fit_lengths([scale * voice for scale, voice in zip(scales, heard, strict=True)], recipe.mode)
        wanted = fit_lengths([scale * voice for scale, voice in zip(scales, wanted, strict=True)], recipe.mode)
        noise, snr_db = self._noise(rng, heard.sum(0))
        return self._finish(heard, wanted, noise, chosen, tuple(levels), snr_db, in_room)

    def _conversation(self, rng: np.random.Generator, settings: ConversationSettings) -> SimulatedMixture:
        recipe = self.recipe
        speakers: list[int] = []
        for _ in range(int(rng.integers(settings.talkers[0], settings.talkers[1] + 1))):
            speakers.append(self.pool.draw_speaker(rng, without=speakers))
        rate, length = recipe.sample_rate, round(settings.seconds * recipe.sample_rate)
        turns = plan_turns(rng, settings, n_talkers=len(speakers), sample_rate=rate)
        levels = balanced_levels([rng.uniform(*recipe.level_db) for _ in speakers[1:]])
        in_room = rng.random() < recipe.room_share
        responses = self._responses(rng, len(speakers)) if in_room else [None] * len(speakers)
        heard = np.zeros((len(speakers), length), np.float32)
        chosen: list[Utterance] = []
        for talker, (speaker, response) in enumerate(zip(speakers, responses, strict=True)):
            own = [turn for turn in turns if turn.talker == talker]
            draw = partial(self._stretch, rng, speaker)
            heard[talker] = speak(own, draw, length=length, sample_rate=rate, response=response)
            heard[talker] *= np.float32(gain_from_db(levels[talker]))
            chosen.append(self.pool.utterances[self.pool.draw_utterance(rng, speaker)])
        noise, snr_db = self._noise(rng, heard.sum(0))
        made = self._finish(heard, heard, noise, tuple(chosen), tuple(levels), snr_db, in_room)
        return replace(made, turns=tuple(turns))

    def _stretch(self, rng: np.random.Generator, speaker: int, length: int) -> Signal:
        """Speech of one speaker, as long as wanted or as an utterance is."""
        return self._voice(rng, speaker, limit=length)[1]

    def _speakers(self, rng: np.random.Generator, number: int) -> list[int]:
        speakers: list[int] = []
        if self.recipe.pair_types:
            genders = list(self.recipe.pair_types[number % len(self.recipe.pair_types)])
            rng.shuffle(genders)
            for gender in genders:
                speakers.append(self.pool.draw_speaker(rng, without=speakers, among=self.pool.of_gender(gender)))
            return speakers
        for _ in range(self.recipe.n_src):
            speakers.append(self.pool.draw_speaker(rng, without=speakers))
        return speakers

    def _voice(self, rng: np.random.Generator, speaker: int, limit: int | None = None) -> tuple[Utterance, Signal]:
        for _ in range(ATTEMPTS):
            utterance = self.pool.utterances[self.pool.draw_utterance(rng, speaker)]
            voice = _random_cut(rng, self.read_speech(utterance), limit or self.limit)
            voice = voice - voice.mean()
            if rms(voice) > SILENT_RMS:
                return utterance, voice
        raise ConfigError(
            f"{ATTEMPTS} stretches of speaker {self.pool.speakers[speaker]!r} were all silent; remove the speaker"
        )

    def _through_room(
        self, rng: np.random.Generator, voices: Sequence[Signal]
    ) -> tuple[tuple[Signal, ...], tuple[Signal, ...]]:
        responses = self._responses(rng, len(voices))
        heard = tuple(reverberate(voice, response) for voice, response in zip(voices, responses, strict=True))
        if self.recipe.targets == "reverberant":
            return heard, heard
        early = early_part(responses, sample_rate=self.recipe.sample_rate)
        return heard, tuple(reverberate(voice, response) for voice, response in zip(voices, early, strict=True))

    def _responses(self, rng: np.random.Generator, n_src: int) -> NDArray[np.float32]:
        """(n_src, taps): how a room answers to each talker."""
        if self.rirs:
            drawn = rng.choice(len(self.rirs), size=n_src, replace=len(self.rirs) < n_src)
            return stack_responses([self.rirs[index] for index in drawn])
        return draw_room(rng, n_src=n_src, sample_rate=self.recipe.sample_rate, settings=self.recipe.room)

    def _noise(self, rng: np.random.Generator, speech: Signal) -> tuple[Signal | None, float | None]:
        if not self.noises or rng.random() >= self.recipe.noise_share:
            return None, None
        for _ in range(ATTEMPTS):
            noise = self.noises[int(rng.integers(len(self.noises)))]()
            noise = repeat_to(_random_cut(rng, noise, len(speech)), len(speech))
            noise = noise - noise.mean()
            if rms(noise) > 0:
                snr_db = float(rng.uniform(*self.recipe.snr_db))
                return noise_at_snr(speech, noise, snr_db), snr_db
        raise ConfigError(f"{ATTEMPTS} stretches of noise were all silent; look into {self.recipe.noise}")

    def _finish(
        self,
        heard: Signal,
        wanted: Signal,
        noise: Signal | None,
        utterances: tuple[Utterance, ...],
        levels: tuple[float, ...],
        snr_db: float | None,
        in_room: bool,
    ) -> SimulatedMixture:
        """Bring to the level wanted, under full scale, and to 16 bits, so that the sum stays exact."""
        total = heard.sum(0) + (0 if noise is None else noise)
        scale = gain_from_db(self.recipe.mixture_dbfs) / rms(total)
        parts = [heard, wanted, total] if noise is None else [heard, wanted, total, noise]
        scale = min(scale, PEAK / max(float(max(part.max(), -part.min())) for part in parts))
        noise16 = None if noise is None else on_int16_grid(noise * scale)
        mixture = on_int16_grid(heard * scale).sum(0, dtype=np.int16) + (np.int16(0) if noise16 is None else noise16)
        return SimulatedMixture(mixture, on_int16_grid(wanted * scale), noise16, utterances, levels, snr_db, in_room)


def _random_cut(rng: np.random.Generator, signal: Signal, length: int | None) -> Signal:
    if length is None or len(signal) <= length:
        return signal
    start = int(rng.integers(len(signal) - length + 1))
    return signal[start : start + length]
