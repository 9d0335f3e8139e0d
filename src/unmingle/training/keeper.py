"""Where a run stands and what it has to show for it: the clock, what is due, validation, release weights, the log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmingle.checkpoint import save_checkpoint
from unmingle.data.batch import Batch
from unmingle.models.base import SeparationModel
from unmingle.training.journal import Journal
from unmingle.training.optim import Plateau, rate_factor, run_progress
from unmingle.training.recipe import Recipe, public_recipe_text
from unmingle.training.run import RunFolder, Standing
from unmingle.training.validation import Validation, examples, validate


@dataclass(frozen=True)
class Report:
    """What a progress bar may show after a step.

    Attributes:
        standing: where the run stands.
        progress: share of the run that is done, 0 when it has no end.
        loss: recent training loss, dB.
        validation: the last one; None before the first.
        audio_seconds: seconds of audio heard.
    """

    standing: Standing
    progress: float
    loss: float
    validation: Validation | None
    audio_seconds: float


class RunKeeper:
    """Keeps one run; the trainer calls it around every step.

    Attributes:
        standing: where the run stands; replaced by every step and validation.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: RunFolder,
        *,
        validation: Sequence[Batch] | None,
        on_step: Callable[[Report], None] | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        """Keep a run that has not begun."""
        self.standing = Standing()
        self.recipe, self.run = recipe, run
        self._settings, self._validation = recipe.training, validation
        self._on_step, self._stop = on_step, stop
        self._journal: Journal | None = None
        self._found: Validation | None = None
        self._recent_loss = math.nan
        self._losses: list[Tensor] = []
        self._just_validated = False
        self._since = self._validated = self._saved = self.standing
        self._started, self._minutes_before = time.monotonic(), 0.0

    def dump(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors."""
        return asdict(self.standing)

    def take_up(self, dumped: Mapping[str, Any]) -> None:
        """Continue where a checkpoint stood."""
        values: dict[str, Any] = dict(dumped)
        values["plateau"] = Plateau(**values["plateau"])
        self.standing = Standing(**values)

    def start(self, *, first: bool) -> None:
        """Start the clock; the first of several processes also opens the log."""
        self._started, self._minutes_before = time.monotonic(), self.standing.minutes
        self._since = self._validated = self._saved = self.standing
        if first:
            self._journal = Journal(self.run, step=self.standing.step, sample_rate=self.recipe.data.sample_rate)

    def close(self) -> None:
        """Finish the log."""
        if self._journal is not None:
            self._journal.close()

    # The step.

    def rate(self) -> float:
        """Learning rate of the next step."""
        standing, settings = self.standing, self._settings
        return settings.lr * rate_factor(
            settings.schedule,
            step=standing.step,
            epoch=standing.step // settings.epoch_steps if settings.epoch_steps else 0,
            progress=self.progress,
            reductions=standing.plateau.reductions,
        )

    def clock(self) -> tuple[float, bool]:
        """Minutes of training so far, and whether somebody asked to stop."""
        return self._minutes_before + (time.monotonic() - self._started) / 60, bool(self._stop and self._stop())

    def count(self, *, samples: int, minutes: float, loss: Tensor, norm: float) -> None:
        """Count a step that is done."""
        standing = self.standing
        self.standing = replace(standing, step=standing.step + 1, samples=standing.samples + samples, minutes=minutes)
        self._losses.append(loss)
        every = self._settings.log_steps
        if self.standing.step % every == 0 or math.isnan(self._recent_loss):
            self._recent_loss = _mean(self._losses[-every:])
            if self._journal is not None:
                self._journal.step(self.standing.step, loss=self._recent_loss, rate=self.rate(), norm=norm)

    def tell(self) -> None:
        """Report the step to whoever shows progress."""
        if self._on_step is not None:
            self._on_step(
                Report(self.standing, self.progress, self._recent_loss, self._found, self._seconds(self.standing))
            )

    # What is due.

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return run_progress(self._settings, step=self.standing.step, minutes=self.standing.minutes)

    @property
    def at_the_end(self) -> bool:
        """Whether the run has used up its steps, its minutes or its patience."""
        patience = self._settings.stop_patience
        return self.progress >= 1 or (patience is not None and self.standing.stale >= patience)

    @property
    def validation_due(self) -> bool:
        """Whether to validate after this step."""
        steps = self._settings.validate_steps or self._settings.epoch_steps
        if steps is not None:
            return self.standing.step % steps == 0
        return self.standing.minutes - self._validated.minutes >= self._settings.validate_minutes

    @property
    def checkpoint_due(self) -> bool:
        """Whether to save after this step: by the clock, by the count, and with every validation."""
        steps = self._settings.checkpoint_steps
        by_steps = steps is not None and self.standing.step % steps == 0
        by_clock = self.standing.minutes - self._saved.minutes >= self._settings.checkpoint_minutes
        return self._just_validated or by_steps or by_clock

    # Validation and weights.

    def score(self, network: SeparationModel, *, device: torch.device) -> Validation | None:
        """Score a network on the validation mixtures and keep some of them to listen to; None without mixtures."""
        if not self._validation:
            return None
        found = validate(network, self._validation, device=device)
        if self._journal is not None and self._settings.n_examples:
            heard = examples(network, self._validation, self._settings.n_examples, device=device)
            self._journal.audio(self.standing.step, heard)
        return found

    def note(self, found: Validation | None) -> bool:
        """Take a validation into account and write its line; says whether it is the best so far."""
        best = found is not None and found.improvement > self.standing.best
        if found is not None:
            self._found = found
            self.standing = replace(
                self.standing,
                best=max(self.standing.best, found.improvement),
                stale=0 if best else self.standing.stale + 1,
                plateau=self.standing.plateau.after(-found.si_snr, patience=self._settings.schedule.patience),
            )
        self._write_line(found)
        self._validated, self._just_validated = self.standing, True
        return best

    def _write_line(self, found: Validation | None) -> None:
        seconds = self._seconds(self.standing) - self._seconds(self._since)
        speed = seconds / max(1e-9, 60 * (self.standing.minutes - self._since.minutes))
        loss = _mean(self._losses)
        if self._journal is not None:
            self._journal.validation(self.standing, found, loss=loss, rate=self.rate(), speed=speed)
        self._since, self._losses = self.standing, []

    def release(self, path: Path, network: SeparationModel, found: Validation | None = None) -> None:
        """Write release weights: the network, with the recipe and what is known of its quality."""
        metadata: dict[str, Any] = {
            "recipe": public_recipe_text(self.recipe),
            "training_data": self.recipe.training_data,
            "licence": self.recipe.licence,
            "training": {
                "steps": self.standing.step,
                "audio_hours": round(self._seconds(self.standing) / 3600, 3),
                "minutes": round(self.standing.minutes, 2),
            },
        }
        if found is not None:
            metadata["scores"] = {f"validation_{key}_db": value for key, value in asdict(found).items()}
        save_checkpoint(path, network, name=self.recipe.name, metadata=metadata)

    def saved(self) -> None:
        """Remember that everything up to here is on disk."""
        self._saved, self._just_validated = self.standing, False

    def _seconds(self, standing: Standing) -> float:
        return standing.samples / self.recipe.data.sample_rate


def _mean(losses: Sequence[Tensor]) -> float:
    """Over the steps whose loss was a number; those of the others were skipped."""
    known = torch.stack(list(losses)) if losses else torch.zeros(0)
    return float(known[known.isfinite()].mean())  # NaN of none
