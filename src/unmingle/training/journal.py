"""What a run writes down while it goes: a CSV file with a line per validation, TensorBoard curves and audio."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unmingle.audio.temporary import whole
from unmingle.errors import MissingExtraError
from unmingle.training.run import RunFolder, Standing
from unmingle.training.validation import Validation

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = (
    "step",
    "audio_hours",
    "minutes",
    "train_loss_db",
    "si_snr_improvement_db",
    "mixed_gender_db",
    "same_gender_db",
    "lr",
    "audio_seconds_per_second",
)


class Journal:
    """The log of one run; lines that a resumed run will write again are dropped when it is opened."""

    def __init__(self, run: RunFolder, *, step: int, sample_rate: int) -> None:
        """Open the log of a run that has done so many steps."""
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", extra="train", purpose="training") from error
        self._run = run
        self._sample_rate = sample_rate
        self._board = SummaryWriter(str(run.tensorboard), purge_step=step + 1 if step else None)
        self._keep(step)

    def _keep(self, step: int) -> None:
        rows: list[list[str]] = []
        if self._run.log.exists():
            with self._run.log.open(newline="", encoding="utf-8") as file:
                rows = [row for row in list(csv.reader(file))[1:] if row and row[0].isdecimal() and int(row[0]) <= step]

        with whole(self._run.log) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])

    def step(self, step: int, *, loss: float, rate: float, norm: float) -> None:
        """Add a point to the training curves."""
        self._board.add_scalar("train/loss_db", loss, step)
        self._board.add_scalar("train/lr", rate, step)
        self._board.add_scalar("train/gradient_norm", norm, step)

    def validation(
        self, standing: Standing, found: Validation | None, *, loss: float, rate: float, speed: float
    ) -> None:
        """Add a line to the log, and points to the validation curves.

        Args:
            standing: where the run stands.
            found: the scores; None when the recipe names nothing to validate on.
            loss: mean training loss since the last line, dB.
            rate: the learning rate.
            speed: seconds of audio per second of wall time.
        """
        scores = (found.improvement, found.mixed, found.same) if found else (None, None, None)
        hours = standing.samples / self._sample_rate / 3600
        numbers = [round(hours, 4), round(standing.minutes, 3), round(loss, 4), *[_short(score) for score in scores]]
        with self._run.log.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([standing.step, *numbers, f"{rate:.4g}", round(speed, 2)])
        for name, score in zip(("all", "mixed_gender", "same_gender"), scores, strict=True):
            if score is not None:
                self._board.add_scalar(f"validation/si_snr_improvement_{name}", score, standing.step)
        self._board.flush()

    def audio(self, step: int, examples: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Keep validation mixtures, (time), and their estimates, (n_src, time), to listen to."""
        for index, (mixture, estimates) in enumerate(examples):
            for name, signal in [("mixture", mixture), *[(f"estimate{i + 1}", one) for i, one in enumerate(estimates)]]:
                loudest = float(signal.abs().max()) or 1.0
                self._board.add_audio(
                    f"example{index + 1}/{name}", (signal / loudest).unsqueeze(0), step, sample_rate=self._sample_rate
                )

    def close(self) -> None:
        """Finish the files."""
        self._board.close()


def _short(score: float | None) -> float | str:
    return "" if score is None else round(score, 4)
