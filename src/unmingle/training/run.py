"""A run folder: what is in it, and when it may be written to.

recipe.yaml        the resolved recipe; training it again gives the same run
log.csv            one line per validation
last.ckpt          training state: everything a resumed run needs
last.safetensors   weights of that state (the average, where there is one)
best.safetensors   weights of the best validation
tensorboard/       curves and audio
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unmingle.audio.temporary import sweep, whole
from unmingle.config import read_values
from unmingle.errors import ConfigError, OutputError, OutputExistsError
from unmingle.training.optim import Plateau
from unmingle.training.recipe import Recipe, recipe_from_values, recipe_text


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def log(self) -> Path:
        """One line per validation."""
        return self.path / "log.csv"

    @property
    def state(self) -> Path:
        """Training state, for resuming."""
        return self.path / "last.ckpt"

    @property
    def last(self) -> Path:
        """Weights of the last checkpoint."""
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        """Weights of the best validation."""
        return self.path / "best.safetensors"

    @property
    def tensorboard(self) -> Path:
        """Curves and audio."""
        return self.path / "tensorboard"


@dataclass(frozen=True)
class Standing:
    """Where a run stands; what a checkpoint holds beside tensors.

    Attributes:
        step: training steps done.
        samples: samples of mixture heard, over all processes.
        minutes: wall time spent training, all parts of a resumed run together.
        best: highest validation SI-SNRi so far, dB.
        stale: validations since.
        plateau: memory of a plateau schedule.
    """

    step: int = 0
    samples: int = 0
    minutes: float = 0.0
    best: float = float("-inf")
    stale: int = 0
    plateau: Plateau = field(default_factory=Plateau)


def open_run(path: Path, recipe: Recipe, *, resume: bool) -> RunFolder:
    """Make a run folder, or take up one that is there, and write the resolved recipe into it.

    Args:
        path: the folder.
        recipe: what will be trained.
        resume: continue the run that is there. Where there is none yet, one begins, so that the same command can be
            repeated until it is done.

    Raises:
        OutputExistsError: the folder holds a run and `resume` is off.
        ConfigError: the run that is there trains another network, or with an optimizer that remembers other things.
        OutputError: the folder cannot be written.
    """
    run = RunFolder(path)
    if run.recipe.exists() or run.state.exists():
        if not resume:
            raise OutputExistsError(
                f"{path} holds a run already; continue it with --resume, or give another -o RUN_DIR"
            )
        _require_same_training(run, recipe)
    sweep(path)
    try:
        with whole(run.recipe, make_folder=True) as draft:
            draft.write_text(recipe_text(recipe), encoding="utf-8")
    except OutputError as error:
        raise OutputError(f"cannot write to the run folder {path} ({error}); choose another with -o") from error
    return run


def _require_same_training(run: RunFolder, recipe: Recipe) -> None:
    if not run.recipe.exists():
        return
    before = recipe_from_values(read_values(run.recipe))
    if before.model != recipe.model:
        raise ConfigError(
            f"{run.path} trains {before.model} but the recipe asks for {recipe.model}; a run keeps its network, "
            "so give another -o RUN_DIR"
        )
    was, wanted = before.training.optimizer, recipe.training.optimizer
    if was != wanted and "muon" in (was, wanted):  # the two Adams remember the same
        raise ConfigError(
            f"{run.path} trains with {was} but the recipe asks for {wanted}, which cannot go on from what {was} "
            f"remembers; begin another run with training.init_from={run.last} and another -o RUN_DIR"
        )
