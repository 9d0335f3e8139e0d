import csv
import dataclasses
import logging
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from fakes import TIME, KilledError, Noise, batch, recipe, same_weights

from unmingle.checkpoint import load_checkpoint, read_card, save_checkpoint
from unmingle.config import read_values
from unmingle.data.batch import Batch
from unmingle.errors import CheckpointError, ConfigError, OutputExistsError
from unmingle.layers.conv import matrix_product
from unmingle.models import build_model
from unmingle.presets.afrcnn import AFRCNNConfig
from unmingle.training import compiling
from unmingle.training.recipe import recipe_from_values
from unmingle.training.settings import LossSettings
from unmingle.training.trainer import train

VALIDATION = [batch(1000), batch(1001)]


def run(folder, *, batches=None, resume=False, **settings):
    batches = batches or Noise()
    return train(recipe(**settings), folder, batches=batches, validation=VALIDATION, resume=resume)


def rows(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(folder)


def test_a_run_leaves_its_recipe_log_state_and_weights(finished):
    folder, result = finished
    assert result.finished
    assert result.standing.step == 6
    assert result.standing.samples == 6 * 2 * TIME
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.safetensors",
        "last.ckpt",
        "last.safetensors",
        "log.csv",
        "recipe.yaml",
        "tensorboard",
    ]
    assert recipe_from_values(read_values(folder / "recipe.yaml")) == recipe()


def test_the_log_has_a_line_per_validation_with_both_kinds_of_pairs(finished):
    lines = rows(finished[0])
    assert [line["step"] for line in lines] == ["3", "6"]
    line = lines[-1]
    assert float(line["audio_hours"]) == pytest.approx(6 * 2 * TIME / 8000 / 3600, abs=1e-4)
    mean = (float(line["mixed_gender_db"]) + float(line["same_gender_db"])) / 2
    assert float(line["si_snr_improvement_db"]) == pytest.approx(mean, abs=1e-3)


def test_the_curves_and_audio_examples_are_in_the_tensorboard_folder(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(finished[0] / "tensorboard"))
    board.Reload()
    assert {"train/loss_db", "train/lr", "validation/si_snr_improvement_all"} <= set(board.Tags()["scalars"])
    assert {"example1/mixture", "example2/estimate2"} <= set(board.Tags()["audio"])


def test_training_lowers_the_loss(tmp_path):
    class One(Noise):
        def batch(self, step):
            return batch(0)

    run(tmp_path, batches=One(), max_steps=40, validate_steps=20)
    before, after = (float(line["train_loss_db"]) for line in rows(tmp_path))
    assert after < before - 0.5


class Paired(Noise):
    """Every pair is a woman and a man."""

    def batch(self, step):
        return super().batch(step)._replace(mixed_gender=torch.ones(2, dtype=torch.bool))


def test_an_order_holds_for_as_many_steps_as_the_recipe_says(tmp_path):
    def log(name, ordered_steps):
        plain = recipe(max_steps=2, validate_steps=1)
        training = dataclasses.replace(plain.training, loss=LossSettings(ordered_steps=ordered_steps))
        ordered = dataclasses.replace(plain, training=training, data=dataclasses.replace(plain.data, speech="mixed"))
        train(ordered, tmp_path / name, batches=Paired(), validation=VALIDATION)
        return [float(row["train_loss_db"]) for row in rows(tmp_path / name)]

    free, once, twice = log("free", 0), log("once", 1), log("twice", 2)
    assert once[0] == twice[0] > free[0]  # the best order is at least as good as a given one
    assert once[1] != twice[1]


def test_weights_are_the_average_and_carry_recipe_and_scores(finished):
    folder, result = finished
    card = read_card(folder / "best.safetensors")
    assert card.name == "tiny"
    assert "n_iterations: 2" in card.recipe
    assert card.scores["validation_improvement_db"] == pytest.approx(result.standing.best)
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    released = load_checkpoint(folder / "last.safetensors").state_dict()
    assert all(torch.equal(released[key], state[f"average.{key}"]) for key in released)
    assert any(not torch.equal(released[key], state[f"network.{key}"]) for key in released)


def test_without_an_average_the_weights_themselves_are_released(tmp_path):
    run(tmp_path, ema_decay=0.0, max_steps=2)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    released = load_checkpoint(tmp_path / "last.safetensors").state_dict()
    assert state.keys() == {f"network.{key}" for key in released}
    assert all(torch.equal(released[key], state[f"network.{key}"]) for key in released)


@pytest.mark.parametrize("killed_at", [3, 4, 5])
def test_a_killed_run_resumes_to_the_same_weights_bit_by_bit(tmp_path, finished, killed_at):
    with pytest.raises(KilledError):
        run(tmp_path, batches=Noise(dies_at=killed_at), checkpoint_steps=2)
    batches = Noise()
    result = run(tmp_path, batches=batches, checkpoint_steps=2, resume=True)
    saved = {3: 2, 4: 3, 5: 4}[killed_at]  # every second step, and with the validation after the third
    assert batches.asked[: 6 - saved] == list(range(saved, 6))
    assert result.standing.step == 6
    assert result.standing.samples == finished[1].standing.samples
    assert same_weights(tmp_path / "last.safetensors", finished[0] / "last.safetensors")
    assert same_weights(tmp_path / "best.safetensors", finished[0] / "best.safetensors")
    assert [line["step"] for line in rows(tmp_path)] == ["3", "6"]


def test_muon_resumes_to_the_same_weights_bit_by_bit(tmp_path):
    run(tmp_path / "whole", optimizer="muon")
    with pytest.raises(KilledError):
        run(tmp_path / "killed", batches=Noise(dies_at=3), checkpoint_steps=2, optimizer="muon")
    assert run(tmp_path / "killed", resume=True, optimizer="muon").standing.step == 6
    assert same_weights(tmp_path / "killed" / "last.safetensors", tmp_path / "whole" / "last.safetensors")


def test_a_run_on_worker_processes_sees_the_same_batches(tmp_path, finished):
    settings = recipe()
    settings = dataclasses.replace(settings, data=dataclasses.replace(settings.data, n_workers=1))
    train(settings, tmp_path, batches=Noise(), validation=VALIDATION)
    assert same_weights(tmp_path / "last.safetensors", finished[0] / "last.safetensors")


def test_the_plateau_and_the_patience_survive_a_resume(tmp_path):
    options = {"epoch_steps": 1, "validate_steps": None, "schedule": {"kind": "plateau", "patience": 1}, "lr": 1e-9}
    whole = run(tmp_path / "whole", **options)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", batches=Noise(dies_at=4), **options)
    resumed = run(tmp_path / "killed", resume=True, **options)
    assert resumed.standing.plateau == whole.standing.plateau
    assert whole.standing.plateau.reductions > 0
    assert same_weights(tmp_path / "whole" / "last.safetensors", tmp_path / "killed" / "last.safetensors")


def test_batches_that_know_their_epochs_need_not_be_told(tmp_path):
    batches = Noise()
    batches.steps_per_epoch = 2
    run(tmp_path, batches=batches, validate_steps=None, max_epochs=2)
    assert [row["step"] for row in rows(tmp_path)] == ["2", "4"]


def test_a_finished_run_that_is_resumed_does_no_step(tmp_path, finished):
    run(tmp_path)
    before = (tmp_path / "last.ckpt").read_bytes()
    result = run(tmp_path, resume=True)
    assert result.finished
    assert result.standing.step == 6
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_a_finished_run_can_be_prolonged(tmp_path):
    run(tmp_path, max_steps=3)
    assert run(tmp_path, max_steps=5, resume=True).standing.step == 5


def test_a_run_that_is_told_to_stop_is_saved_and_not_finished(tmp_path):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 2

    result = train(recipe(), tmp_path, batches=Noise(), validation=VALIDATION, stop=stop)
    assert not result.finished
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["standing"]["step"] == 2
    assert run(tmp_path, resume=True).standing.step == 6


def test_minutes_end_a_run(tmp_path):
    result = run(tmp_path, max_steps=None, max_minutes=1e-6)
    assert result.finished
    assert result.standing.step == 1


def test_patience_ends_a_run(tmp_path):
    result = run(tmp_path, lr=1e-12, ema_decay=0.0, max_steps=50, validate_steps=1, stop_patience=2)
    assert result.finished
    assert result.standing.step < 50


def test_a_recipe_without_an_end_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no end"):
        run(tmp_path, max_steps=None)


def test_a_folder_with_a_run_is_not_overwritten(finished):
    with pytest.raises(OutputExistsError, match="--resume"):
        run(finished[0])


def test_a_run_keeps_its_network(finished):
    other = recipe()
    other = dataclasses.replace(other, model=dataclasses.replace(other.model, n_iterations=3))
    with pytest.raises(ConfigError, match="keeps its network"):
        train(other, finished[0], batches=Noise(), resume=True)


@pytest.mark.parametrize(("first", "then"), [("adam", "muon"), ("muon", "adamw")])
def test_a_run_keeps_an_optimizer_that_remembers_other_things(tmp_path, first, then):
    run(tmp_path, optimizer=first, max_steps=2)
    before = (tmp_path / "recipe.yaml").read_bytes()
    with pytest.raises(ConfigError, match=f"trains with {first} but .* asks for {then}.*init_from=.*last.safetensors"):
        run(tmp_path, optimizer=then, max_steps=3, resume=True)
    assert (tmp_path / "recipe.yaml").read_bytes() == before


def test_a_run_goes_on_with_the_other_adam(tmp_path):
    run(tmp_path, optimizer="adam", max_steps=2)
    assert run(tmp_path, optimizer="adamw", max_steps=3, resume=True).standing.step == 3


def test_training_starts_from_given_weights(tmp_path):
    torch.manual_seed(7)
    network = build_model(recipe().model)
    save_checkpoint(tmp_path / "start.safetensors", network, name="start")
    run(tmp_path / "run", init_from=str(tmp_path / "start.safetensors"), max_steps=1, lr=1e-12, ema_decay=0.0)
    trained = load_checkpoint(tmp_path / "run" / "last.safetensors").state_dict()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(trained[key], value, rtol=0, atol=1e-8)
    assert str(tmp_path) not in read_card(tmp_path / "run" / "last.safetensors").recipe


def test_weights_of_another_network_are_refused(tmp_path):
    other = dataclasses.replace(recipe().model, channels=4)
    save_checkpoint(tmp_path / "start.safetensors", build_model(other), name="start")
    with pytest.raises(CheckpointError, match="do not fit"):
        run(tmp_path / "run", init_from=str(tmp_path / "start.safetensors"))


class Poisoned(Noise):
    def __init__(self, *steps):
        super().__init__()
        self.steps = steps

    def batch(self, step):
        good = super().batch(step)
        return Batch(good.mixture * torch.nan, good.sources) if step in self.steps else good


def test_a_step_with_an_infinite_gradient_is_skipped(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run(tmp_path, batches=Poisoned(1))
    assert "step 1 has an infinite gradient" in caplog.text
    assert all(math.isfinite(float(row["train_loss_db"])) for row in rows(tmp_path))
    assert all(value.isfinite().all() for value in load_file(tmp_path / "last.safetensors").values())


def test_endless_infinite_gradients_end_in_advice(tmp_path):
    with pytest.raises(ConfigError, match=r"lower training\.lr"):
        run(tmp_path, batches=Poisoned(*range(60)), max_steps=60, validate_steps=100)


def test_training_leaves_global_randomness_and_threads_alone(tmp_path):
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    run(tmp_path, max_steps=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_bf16_trains_and_releases_float32(tmp_path):
    run(tmp_path, precision="bf16", max_steps=2)
    assert all(value.dtype == torch.float32 for value in load_file(tmp_path / "last.safetensors").values())


def test_products_of_rounded_numbers_are_asked_for_while_training_only(tmp_path, finished, monkeypatch):
    asked, rounding = [], []

    class Watched(Noise):
        def batch(self, step):
            asked.append(torch.backends.mkldnn.matmul.fp32_precision)
            return super().batch(step)

    def product(x, matrix, *, rounds):
        rounding.append((rounds, torch.is_grad_enabled()))
        return matrix_product(x, matrix, rounds=rounds)

    monkeypatch.setattr("unmingle.layers.conv.matrix_product", product)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    before = torch.backends.mkldnn.matmul.fp32_precision
    run(tmp_path, batches=Watched(), precision="bf16-products")
    assert set(asked) == {"bf16"}
    assert set(rounding) == {(True, True), (False, False)}  # steps round, validation does not
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    weights, exact = (load_file(folder / "last.safetensors") for folder in (tmp_path, finished[0]))
    for name, value in weights.items():
        torch.testing.assert_close(value, exact[name], rtol=0.1, atol=0.1)  # the same but for rounding


def test_a_missing_compiler_gets_a_clear_message(tmp_path, monkeypatch):
    def no_compiler(*_, **__):
        raise RuntimeError("no working C++ compiler found")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(ConfigError, match=r"no working C\+\+ compiler.*training\.compile=false"):
        run(tmp_path, compile=True)


def test_every_block_of_an_untied_network_is_compiled(monkeypatch):
    network = build_model(AFRCNNConfig(n_basis=4, channels=4, hidden=4, depth=2, n_iterations=3, tied=False))
    compiled_blocks = []
    monkeypatch.setattr(compiling, "_probe", lambda _: None)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda block, **_: compiled_blocks.append(block))
    assert compiling.compiled(max, network=network, device=torch.device("cpu")) is max
    assert compiled_blocks == list(network.separator.block)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_compiled_run_learns_what_a_plain_one_does(tmp_path):
    for name in ("plain", "compiled"):
        wanted = recipe(compile=name == "compiled", max_steps=3, lr=1e-4)
        model = dataclasses.replace(wanted.model, dropout=0.0)  # compiled code draws dropout from another generator
        train(dataclasses.replace(wanted, model=model), tmp_path / name, batches=Noise(), validation=VALIDATION)
    losses = [float(rows(tmp_path / name)[0]["train_loss_db"]) for name in ("plain", "compiled")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from fakes import Noise, batch, recipe
from unmingle.training.trainer import train
train(recipe(checkpoint_steps=1, max_steps=10_000), Path(sys.argv[2]), batches=Noise(), validation=[batch(1000)])
"""


@pytest.mark.slow
def test_a_run_that_is_killed_outright_can_be_resumed_to_the_same_weights(tmp_path):
    """SIGKILL at no chosen moment, so probably in the middle of writing something."""
    folder = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(folder)]) as process:
        patience = time.monotonic() + 120
        while not (folder / "last.ckpt").exists() and time.monotonic() < patience:
            time.sleep(0.01)
        time.sleep(0.5)
        process.kill()
    step = torch.load(folder / "last.ckpt", weights_only=True)["standing"]["step"]
    resumed = run(folder, resume=True, max_steps=step + 4)
    assert resumed.standing.step == step + 4
    run(tmp_path / "whole", max_steps=step + 4)
    assert same_weights(folder / "last.safetensors", tmp_path / "whole" / "last.safetensors")
