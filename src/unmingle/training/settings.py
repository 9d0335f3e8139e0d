"""The `training` part of a recipe. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unmingle.config import check_least
from unmingle.errors import ConfigError


@dataclass(frozen=True)
class LossSettings:
    """What is minimised: minus the mean score of the best assignment of estimates to sources, in dB.

    Attributes:
        metric: `si_snr`, `snr` or `sd_sdr` with the published epsilons, or `conv_tasnet`: SI-SNR as the Conv-TasNet
            trainer writes it, a ratio of norms with one epsilon below and one inside the logarithm.
        zero_mean: remove the mean of every estimate and source first.
        drop_above_db: items already better than this are left out of the batch mean, unless all are; None: keep all.
        clamp_db: limit the loss of a batch to plus and minus this; None: no limit. SuDoRM-RF's recipe has 30.
        ordered_steps: over these first steps a woman and a man have to come out in this order, and only pairs of one
            gender in any. A network that need not choose an order leaves its first plateau sooner.
    """

    metric: Literal["si_snr", "snr", "sd_sdr", "conv_tasnet"] = "snr"
    zero_mean: bool = True
    drop_above_db: float | None = None
    clamp_db: float | None = None
    ordered_steps: int = 0

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing."""
        for name in ("ordered_steps", "clamp_db"):
            check_least(f"training.loss.{name}", getattr(self, name), 0)


@dataclass(frozen=True)
class ScheduleSettings:
    """How the learning rate moves. Epochs are `training.epoch_steps` steps long.

    Attributes:
        kind: `constant`; `step`: times `factor` every `every_epochs`; `plateau`: times `factor` when validation has not
            improved for more than `patience` epochs; `cosine_tail`: constant until `tail_from`, then half a cosine down
            to `floor`.
        warmup_steps: first steps, over which the rate rises from 0 in a straight line.
        factor: see `kind`.
        every_epochs: see `kind`.
        patience: see `kind`.
        tail_from: where the tail begins, as a share of the run (the larger of its steps and its minutes).
        floor: where the tail ends, as a share of the full rate.
    """

    kind: Literal["constant", "step", "plateau", "cosine_tail"] = "constant"
    warmup_steps: int = 0
    factor: float = 0.5
    every_epochs: int = 40
    patience: int = 15
    tail_from: float = 0.65
    floor: float = 0.02

    def __post_init__(self) -> None:
        """Refuse curves that cannot be followed."""
        where = "training.schedule"
        for name in ("warmup_steps", "patience", "factor", "floor", "tail_from"):
            check_least(f"{where}.{name}", getattr(self, name), 0)
        check_least(f"{where}.every_epochs", self.every_epochs, 1)
        for name in ("factor", "floor"):
            if getattr(self, name) > 1:
                raise ConfigError(f"{where}.{name} is {getattr(self, name)}, but must be 1 or less")


@dataclass(frozen=True)
class TrainingSettings:
    """Everything about a run that is neither network nor data.

    Attributes:
        seed: of the first weights and of dropout.
        init_from: a `.safetensors` weights file, or the name of a bundled model, to start from; its network must fit
            the recipe's. Weights of a tied network fit the untied one too: every unfolding step begins with a copy.
        init_partly: take from that file the tensors that fit by name and shape, and begin the others anew: to go on to
            another number of speakers, for example.
        init_wider: the network of that file, an A-FRCNN or a TDANet, has fewer `channels` and begins inside the
            recipe's, which computes the same at first and has more to learn with.
        lip_reader: for an audio-visual network, where its lip reader comes from: a published lip-reading file, or a
            `.safetensors` of ours that has one. Required when it learns nothing and there is no `init_from`.
        loss: see `LossSettings`.
        optimizer: `adam`; `adamw`, which decays weights apart from the gradient; or `muon`, which makes the steps of
            matrices orthogonal and learns more from each mixture (see `muon.MuonAndAdam`).
        lr: full learning rate.
        betas: the two averages of Adam.
        weight_decay: the optimizer's.
        clip_norm: longest gradient, L2 norm over all parameters; None: no limit.
        schedule: see `ScheduleSettings`.
        ema_decay: weights are averaged over about 1 / (1 - this) steps for validation and export; 0: no average.
        epoch_steps: steps per epoch; None: as many as the fixed mixtures fill, and no epochs in dynamic mixing.
        max_steps: the run ends after so many steps; None: no limit.
        max_epochs: the run ends after so many epochs; None: no limit.
        max_minutes: the run ends after so many minutes of training, earlier parts of a resumed run included.
        stop_patience: the run ends after so many validations without a gain; None: never for that.
        validate_minutes: wall time between validations of a recipe without epochs; with them, each epoch ends in one.
        validate_steps: steps between validations instead.
        checkpoint_minutes: wall time between checkpoints, which is the most a kill can cost.
        checkpoint_steps: steps between checkpoints, in addition.
        log_steps: steps between two points of the TensorBoard curves.
        n_examples: validation mixtures whose estimates are kept as TensorBoard audio.
        precision: `float32`; `bf16` (mixed); or `bf16-products`, where a CPU rounds what matrix products and
            convolutions multiply (and what 1x1 convolutions and the decoder's product hand on) and nothing else, which
            is faster where it has the instructions (AVX-512 BF16, AMX).
        compile: compile the step with `torch.compile`; needs a C++ compiler, takes a minute or two, then saves time.
        device: `auto` takes CUDA where there is one.
        n_devices: processes that train together, each with its own batches.
        n_threads: CPU threads of the training process; None: torch's choice.
    """

    seed: int = 0
    init_from: str | None = None
    init_partly: bool = False
    init_wider: bool = False
    lip_reader: str | None = None
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip_norm: float | None = 5.0
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    ema_decay: float = 0.999
    epoch_steps: int | None = None
    max_steps: int | None = None
    max_epochs: int | None = None
    max_minutes: float | None = None
    stop_patience: int | None = None
    validate_minutes: float = 5.0
    validate_steps: int | None = None
    checkpoint_minutes: float = 3.0
    checkpoint_steps: int | None = None
    log_steps: int = 20
    n_examples: int = 2
    precision: Literal["float32", "bf16", "bf16-products"] = "float32"
    compile: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    n_devices: int = 1
    n_threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers no run can be made with."""
        counts = ("epoch_steps", "max_steps", "max_epochs", "validate_steps", "checkpoint_steps", "n_threads")
        minutes = ("max_minutes", "validate_minutes", "checkpoint_minutes")
        for name in (*counts, *minutes, "lr", "clip_norm", "stop_patience", "log_steps", "n_devices"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"training.{name} is {value}, but must be above 0")
        for name in ("weight_decay", "n_examples"):
            check_least(f"training.{name}", getattr(self, name), 0)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"training.betas is {list(self.betas)}, but each must be 0 or more and below 1")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"training.ema_decay is {self.ema_decay}, but must be 0 or more and below 1")
        if self.schedule.kind == "cosine_tail" and not (self.max_steps or self.max_epochs or self.max_minutes):
            raise ConfigError("a cosine tail needs an end; set training.max_steps, max_epochs or max_minutes")

    @property
    def counts_epochs(self) -> bool:
        """Whether the length of an epoch matters."""
        return self.schedule.kind in ("step", "plateau") or self.max_epochs is not None

    @property
    def step_limit(self) -> int | None:
        """The step after which the run ends, whichever of its limits in steps and epochs comes first."""
        epochs = self.max_epochs * self.epoch_steps if self.max_epochs and self.epoch_steps else None
        limits = [limit for limit in (self.max_steps, epochs) if limit is not None]
        return min(limits) if limits else None
