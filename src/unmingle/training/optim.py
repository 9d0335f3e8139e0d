"""Optimizers, and the learning rate as a plain function of where a run stands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import nn

from unmingle.training.muon import MuonAndAdam
from unmingle.training.settings import ScheduleSettings, TrainingSettings

# A gain is a relative one, a share of the best loss whatever its sign; torch's ReduceLROnPlateau takes the share of a
# negative loss the other way, so that any loss a little above the best would count as a gain.
PLATEAU_THRESHOLD = 1e-4


def build_optimizer(parameters: Iterable[nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Adam, AdamW or Muon with a recipe's numbers."""
    if settings.optimizer == "muon":
        return MuonAndAdam(parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)


@dataclass(frozen=True)
class Plateau:
    """What a plateau schedule remembers between validations. Losses: lower is better.

    Attributes:
        best: lowest validation loss that counted as a gain.
        waited: validations since.
        reductions: how often the rate has been cut.
    """

    best: float = math.inf
    waited: int = 0
    reductions: int = 0

    def after(self, loss: float, *, patience: int) -> Plateau:
        """The state after one more validation; the rate is cut when more than `patience` of them brought no gain."""
        if loss < self.best - PLATEAU_THRESHOLD * (abs(self.best) if math.isfinite(self.best) else 0.0):
            return replace(self, best=loss, waited=0)
        if self.waited + 1 > patience:
            return replace(self, waited=0, reductions=self.reductions + 1)
        return replace(self, waited=self.waited + 1)


def rate_factor(
    schedule: ScheduleSettings, *, step: int, epoch: int = 0, progress: float = 0.0, reductions: int = 0
) -> float:
    """The share of the full learning rate that a step gets.

    Args:
        schedule: which curve.
        step: number of the step, from 0.
        epoch: number of its epoch, from 0.
        progress: how much of the run is done, 0 to 1.
        reductions: cuts of a plateau schedule so far.
    """
    warm = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    if schedule.kind == "step":
        return warm * schedule.factor ** (epoch // schedule.every_epochs)
    if schedule.kind == "plateau":
        return warm * schedule.factor**reductions
    if schedule.kind == "cosine_tail":
        return warm * _tail(schedule, progress)
    return warm


def _tail(schedule: ScheduleSettings, progress: float) -> float:
    if progress < schedule.tail_from or schedule.tail_from >= 1:
        return 1.0
    along = min(1.0, (progress - schedule.tail_from) / (1 - schedule.tail_from))
    return schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * along))


def run_progress(settings: TrainingSettings, *, step: int, minutes: float) -> float:
    """How much of a run is done, 0 to 1: the larger share of its steps and of its minutes; 0 when it has no end."""
    shares = [0.0]
    if settings.step_limit:
        shares.append(step / settings.step_limit)
    if settings.max_minutes:
        shares.append(minutes / settings.max_minutes)
    return min(1.0, max(shares))
