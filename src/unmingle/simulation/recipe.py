"""What a simulated corpus is: one frozen dataclass, read from YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unmingle.config import build, check_keys, check_least, check_range, override, read_values
from unmingle.errors import ConfigError
from unmingle.simulation.conversation import ConversationSettings
from unmingle.simulation.rooms import RoomSettings


@dataclass(frozen=True)
class SimulationRecipe:
    """Mixture k of a recipe is a pure function of the recipe and k; `seed` is a part of the recipe.

    Attributes:
        speech: a folder `speaker/*.wav`, a speech manifest (JSON Lines) or Lhotse cuts.
        n_mixtures: how many.
        n_src: speakers per mixture, all different, 2 or more.
        seconds: longest part of an utterance that is used, cut at random; None: whole utterances. In `min` mode shorter
            utterances are not used at all, so that every mixture lasts exactly this long.
        mode: `min` cuts all voices to the shortest, `max` appends silence up to the longest.
        sample_rate: Hz, of the files written; other rates are resampled.
        seed: of everything drawn.
        level_db: range of the level of the first voice over every other one, in dB.
        noise: a folder or a manifest of noise; None: no noise.
        noise_share: share of the mixtures that get noise, when there is any.
        snr_db: range of the level of the sum of the voices over the noise, in dB, over the whole mixture.
        room_share: share of the mixtures heard in a room.
        room: the rooms that are simulated.
        rirs: a folder of measured impulse responses, to use in place of simulated rooms.
        targets: what the source files of a mixture in a room hold: the reverberant voice, or its first 50 ms.
        pair_types: genders of the speakers, such as [MF, FF, MM], taken in turn; empty: gender plays no part.
        speaker_seconds: speakers are drawn by the root of their seconds of speech, clipped to this range.
        exclude_corpora: values of `corpus` in the speech manifest whose rows are left out.
        mixture_dbfs: level of the mixture, dB under full scale; lower where it would clip.
        conversation: mixtures are conversations of several turns; `n_src`, `seconds`, `mode` and `pair_types` play no
            part then, and `snr_db` is over the whole conversation, its pauses included.
    """

    speech: str
    n_mixtures: int
    n_src: int = 2
    seconds: float | None = 4.0
    mode: Literal["min", "max"] = "min"
    sample_rate: int = 16_000
    seed: int = 0
    level_db: tuple[float, float] = (-5.0, 5.0)
    noise: str | None = None
    noise_share: float = 1.0
    snr_db: tuple[float, float] = (0.0, 10.0)
    room_share: float = 0.0
    room: RoomSettings = field(default_factory=RoomSettings)
    rirs: str | None = None
    targets: Literal["reverberant", "early"] = "reverberant"
    pair_types: tuple[str, ...] = ()
    speaker_seconds: tuple[float, float] = (10.0, 600.0)
    exclude_corpora: tuple[str, ...] = ()
    mixture_dbfs: float = -25.0
    conversation: ConversationSettings | None = None

    def __post_init__(self) -> None:
        """Refuse what no mixture can be made from."""
        for name, least in (("n_src", 2), ("n_mixtures", 1), ("sample_rate", 1), ("seed", 0)):
            check_least(name, getattr(self, name), least)
        if self.seconds is not None and self.seconds <= 0:
            raise ConfigError(f"seconds is {self.seconds}, but must be above 0; leave it empty for whole utterances")
        for name in ("noise_share", "room_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but a share lies between 0 and 1")
        for name in ("level_db", "snr_db", "speaker_seconds"):
            check_range(name, getattr(self, name))
        self._check_pairs()
        if self.conversation is not None:
            if self.targets != "reverberant":
                raise ConfigError(f"targets are {self.targets!r}, but the talkers of a conversation keep their rooms")
            self.conversation.check()

    def _check_pairs(self) -> None:
        for pair in self.pair_types:
            if len(pair) != self.n_src or set(pair) - {"F", "M"}:
                raise ConfigError(f"pair type {pair!r} is not {self.n_src} letters of F and M")


def load_simulation_recipe(path: Path | str, overrides: Sequence[str] = ()) -> SimulationRecipe:
    """Read a recipe from YAML, which may extend another.

    Args:
        path: the YAML file.
        overrides: `key=value` words, later ones win; the key may be dotted (`room.rt60=[0.2, 0.4]`).

    Raises:
        MissingFileError: there is no such file.
        ConfigError: a wrong key, type or value.
    """
    values = override(read_values(Path(path)), overrides, such_as="n_mixtures=100")
    check_keys(SimulationRecipe, values, where="recipe")
    missing = [name for name in ("speech", "n_mixtures") if values.get(name) is None]
    if missing:
        raise ConfigError(f"{path}: {' and '.join(missing)} must be given, in the file or as key=value")
    return build(SimulationRecipe, values, where="recipe")
