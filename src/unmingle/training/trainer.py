"""The training loop. The only file that knows the training framework (Lightning).

Step k of a run is a function of the recipe and of the weights before it: its batch is batch k of the data, its dropout
is seeded with k, its learning rate comes from `optim.rate_factor`. A run that is resumed from a checkpoint therefore
ends in the weights of an uninterrupted one, as long as nothing in its recipe looks at the clock.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from unmingle.audio.temporary import whole
from unmingle.data.batch import Batch, BatchSource
from unmingle.data.loader import training_batches, training_loader, validation_batches
from unmingle.errors import ConfigError, MissingExtraError
from unmingle.layers.conv import OverlapAdd, Pointwise
from unmingle.training.compiling import compiled
from unmingle.training.ema import average_of, update_average
from unmingle.training.keeper import Report, RunKeeper
from unmingle.training.losses import build_loss
from unmingle.training.optim import build_optimizer
from unmingle.training.recipe import Recipe
from unmingle.training.run import RunFolder, Standing, open_run
from unmingle.training.settings import TrainingSettings
from unmingle.training.start import first_network
from unmingle.training.validation import answer

try:
    from lightning.fabric.utilities.warnings import PossibleUserWarning
    from lightning.pytorch import LightningModule, Trainer
except ImportError as error:
    raise MissingExtraError("lightning", extra="train", purpose="training") from error

if TYPE_CHECKING:
    from unmingle.models.base import SeparationModel

log = logging.getLogger(__name__)
TOO_MANY_SKIPPED = 50


@dataclass(frozen=True)
class TrainingResult:
    """What came of a call of `train`.

    Attributes:
        folder: the run folder.
        standing: where the run stands.
        finished: whether it reached its end, rather than having been told to stop.
        first: whether this is the first of the processes that trained together, whose words are enough.
    """

    folder: RunFolder
    standing: Standing
    finished: bool
    first: bool = True


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Report], None] | None = None,
    on_decode: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    batches: BatchSource | None = None,
    validation: Sequence[Batch] | None = None,
) -> TrainingResult:
    """Train what a recipe says, into a run folder.

    Args:
        recipe: network, data, training.
        folder: the run folder; see `unmingle.training.run`.
        resume: continue the run that is in the folder, if one is.
        on_step: called after every step.
        on_decode: called with (utterances done, in all) while speech for dynamic mixing is decoded for the first time.
        stop: asked after every step; when it says yes the run is saved and left.
        batches: what to train on instead of what the recipe's data names.
        validation: what to validate on instead of what the recipe's data names.

    Raises:
        OutputExistsError: the folder holds a run and `resume` is off.
        ConfigError: no end is set, the run in the folder trains another network or with another optimizer, the
            compiler is missing, or the gradient stays infinite.
        CheckpointError: `training.init_from` or `training.lip_reader` does not fit the network.
        OutputError: the folder cannot be written.
    """
    trainer = _framework(recipe.training)
    network = first_network(recipe)
    if batches is None:
        rank, world_size = trainer.global_rank, trainer.world_size
        batches = training_batches(recipe.data, rank=rank, world_size=world_size, progress=on_decode)
    recipe = _with_epochs(recipe, batches)
    settings = recipe.training
    if validation is None:
        validation = validation_batches(recipe.data)
    run = open_run(folder, recipe, resume=resume) if trainer.is_global_zero else RunFolder(folder)
    keeper = RunKeeper(recipe, run, validation=validation, on_step=on_step, stop=stop)
    training = _Training(network, keeper, batches)
    rounding = _rounding(network) if trainer.strategy.root_device.type == "cpu" else []
    with _threads(settings.n_threads), _products(rounding, settings), _quiet(), torch.random.fork_rng(devices=[]):
        trainer.fit(training, ckpt_path=run.state if run.state.exists() else None, weights_only=True)
    return TrainingResult(run, keeper.standing, training.finished, trainer.is_global_zero)


def _with_epochs(recipe: Recipe, batches: BatchSource) -> Recipe:
    """The recipe with its epochs counted in steps, and surely with an end."""
    settings = recipe.training
    if settings.epoch_steps is None:
        settings = replace(settings, epoch_steps=getattr(batches, "steps_per_epoch", None))
    if settings.counts_epochs and settings.epoch_steps is None:
        raise ConfigError("the recipe counts in epochs, which dynamic mixing has none of; set training.epoch_steps")
    if settings.step_limit is None and settings.max_minutes is None and settings.stop_patience is None:
        raise ConfigError("the recipe has no end; set training.max_steps, max_epochs, max_minutes or stop_patience")
    return replace(recipe, training=settings)


def _framework(settings: TrainingSettings) -> Trainer:
    found = torch.cuda.is_available()
    device = settings.device if settings.device != "auto" else "cuda" if found else "cpu"
    if device == "cuda" and not found:
        raise ConfigError("training.device is cuda, but torch finds no CUDA device here; use auto or cpu")
    with _quiet():
        return Trainer(
            accelerator=device,
            devices=settings.n_devices,
            precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
            max_epochs=-1,  # the keeper sees the end, so that steps, minutes and patience are judged in one place
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )


class _Training(LightningModule):
    """One run as the framework wants it: hooks around the step."""

    def __init__(self, network: SeparationModel, keeper: RunKeeper, batches: BatchSource) -> None:
        super().__init__()
        self.automatic_optimization = False  # an infinite gradient skips the step, and the rate is set before each
        settings = keeper.recipe.training
        unused = network.unused_parameters()
        for name, parameter in network.named_parameters():
            if name in unused:
                parameter.requires_grad_(False)  # several processes would wait for its gradient
        self.network = network.train()
        self.average = average_of(network) if settings.ema_decay else None
        self.finished = False
        self._keeper, self._batches, self._settings = keeper, batches, settings
        self._loss = build_loss(settings.loss)
        self._step = self._plain_step
        self._skipped = 0
        self._last = (torch.tensor(math.nan), math.nan)
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.network.parameters(), self._settings)

    def train_dataloader(self) -> Any:
        n_workers = self._keeper.recipe.data.n_workers
        return training_loader(self._batches, start=self._keeper.standing.step, n_workers=n_workers)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["standing"] = self._keeper.dump()

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        self._keeper.take_up(checkpoint["standing"])

    def on_train_start(self) -> None:
        if self._settings.compile:
            self._step = compiled(self._plain_step, network=self.network, device=self.device)
        self._keeper.start(first=self.trainer.is_global_zero)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)  # the framework's own would end the run unsaved

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:  # noqa: ARG002 (the hook's signature)
        if self._keeper.at_the_end:  # a finished run that was resumed
            self.finished = self.trainer.should_stop = True
            return -1
        return None

    def training_step(self, batch: Batch, *_: object) -> None:
        optimizer = cast("Any", self.optimizers())
        for group in optimizer.param_groups:
            group["lr"] = self._keeper.rate()
        torch.manual_seed(self._settings.seed * 1_000_003 + self._keeper.standing.step)  # of dropout
        ordered = self._keeper.standing.step < self._settings.loss.ordered_steps
        loss = self._step(batch.mixture, batch.sources, batch.video, batch.mixed_gender if ordered else None)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._settings.clip_norm or math.inf)
        if torch.isfinite(norm):
            optimizer.step()
            self._skipped = 0
        else:
            self._skip()
        self._last = (loss.detach(), float(norm))

    def _plain_step(
        self, mixture: Tensor, sources: Tensor, video: Tensor | None, in_order: Tensor | None = None
    ) -> Tensor:
        return self._loss(answer(self.network, mixture, video), sources, in_order=in_order)

    def _skip(self) -> None:
        self._skipped += 1
        step = self._keeper.standing.step
        log.warning("step %d has an infinite gradient and is skipped", step)
        if self._skipped >= TOO_MANY_SKIPPED:
            raise ConfigError(
                f"the gradient was not finite for {self._skipped} steps in a row, up to step {step}; lower "
                f"training.lr (now {self._settings.lr}) and continue from the last checkpoint with --resume"
            )

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 (likewise)
        keeper = self._keeper
        minutes, told = self.trainer.strategy.broadcast(keeper.clock())  # all processes follow the first one's clock
        loss, norm = self._last
        keeper.count(samples=batch.mixture.numel() * self.trainer.world_size, minutes=minutes, loss=loss, norm=norm)
        if self.average is not None:
            decay, step = self._settings.ema_decay, keeper.standing.step
            update_average(self.average, self.network, decay=decay, step=step)
        if keeper.at_the_end or keeper.validation_due:
            self._validate()
        if keeper.at_the_end or told or keeper.checkpoint_due:
            self._save()
        self.finished = keeper.at_the_end
        self.trainer.should_stop = self.finished or told
        if self.trainer.is_global_zero:
            keeper.tell()

    def on_train_end(self) -> None:
        self._keeper.close()

    @property
    def _released(self) -> SeparationModel:
        return self.network if self.average is None else self.average

    def _validate(self) -> None:
        first = self.trainer.is_global_zero
        with torch.compiler.set_stance("force_eager"):  # validation mixtures differ in length
            found = self._keeper.score(self._released.eval(), device=self.device) if first else None
        self.network.train()
        found = self.trainer.strategy.broadcast(found)
        if self._keeper.note(found) and first:
            self._keeper.release(self._keeper.run.best, self._released, found)

    def _save(self) -> None:
        run = self._keeper.run
        if self.trainer.is_global_zero:
            self._keeper.release(run.last, self._released)
            with whole(run.state) as draft:
                self.trainer.save_checkpoint(draft)
        else:
            self.trainer.save_checkpoint(run.state)  # takes part, writes nothing
        self._keeper.saved()


@contextmanager
def _threads(n_threads: int | None) -> Generator[None]:
    before = torch.get_num_threads()
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rounding(network: SeparationModel) -> list[Pointwise | OverlapAdd]:
    """The layers that round by themselves, for on one thread the library leaves 1x1 convolutions as they are."""
    cpu = cast("Any", torch.cpu)  # nothing public tells what it can multiply
    if not (cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()):
        return []
    return [module for module in network.modules() if isinstance(module, Pointwise | OverlapAdd)]


@contextmanager
def _products(layers: Sequence[Pointwise | OverlapAdd], settings: TrainingSettings) -> Generator[None]:
    """Let matrix products and convolutions on a CPU round what they multiply, if the recipe wants it."""
    mkldnn = cast("Any", torch.backends.mkldnn)  # its stubs do not know these
    kinds = (mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    before = [kind.fp32_precision for kind in kinds]
    try:
        if settings.precision == "bf16-products":
            for kind in kinds:
                kind.fp32_precision = "bf16"
            for layer in layers:
                layer.rounds = True
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision
        for layer in layers:
            layer.rounds = False


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the framework's guesses to itself: workers are counted in the recipe, the average belongs in eval mode."""
    framework = logging.getLogger("lightning.pytorch")
    level = framework.level
    framework.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # its use of torch, not ours
        try:
            yield
        finally:
            framework.setLevel(level)
