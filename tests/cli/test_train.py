"""`unmingle train`: a recipe in, a run folder out."""

import csv
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file

from unmingle.checkpoint import load_checkpoint

RATE = 8000
RECIPE = f"""
name: tiny
model: {{family: tdanet, sample_rate: {RATE}, window_ms: 4, channels: 8, hidden: 16, depth: 3, n_iterations: 2}}
data: {{sample_rate: {RATE}, segment_seconds: 0.3, batch_size: 2, n_workers: 0, speech: speech, valid_speech: speech,
  n_valid: 2, valid_seconds: 0.3, cache_dir: cache, mixing: {{noise_share: 0, mixed_gender_share: null}}}}
training: {{max_steps: 3, validate_steps: 2, n_threads: 1}}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with a recipe and three speakers of noise."""
    random = np.random.default_rng(0)
    for speaker in "abc":
        (tmp_path / "speech" / speaker).mkdir(parents=True)
        for number in range(2):
            sf.write(tmp_path / "speech" / speaker / f"{number}.wav", 0.1 * random.normal(size=RATE), RATE)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_is_trained_into_the_run_folder_of_its_name(cli, place):
    ran = cli("train", "tiny.yaml", "training.max_steps=2")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("runs/tiny/best.safetensors  SI-SNRi ")
    assert "step 2" in ran.err
    load_checkpoint(place / "runs" / "tiny" / "best.safetensors")


def test_a_second_run_needs_resume_or_another_folder(cli, place):
    assert cli("train", "tiny.yaml", "training.max_steps=1").code == 0
    refused = cli("train", "tiny.yaml")
    assert refused.code == 1
    assert "--resume" in refused.err
    assert cli("train", "tiny.yaml", "--resume").code == 0
    assert cli("train", "tiny.yaml", "training.max_steps=1", "-o", "runs/other").code == 0


def test_the_resolved_recipe_of_a_run_can_be_trained_again(cli, place):
    assert cli("train", "tiny.yaml", "training.max_steps=1").code == 0
    assert cli("train", "runs/tiny/recipe.yaml", "-o", "again").code == 0
    first, again = (load_file(place / folder / "best.safetensors") for folder in ("runs/tiny", "again"))
    assert all(torch.equal(again[key], value) for key, value in first.items())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training.lrr=3", "did you mean 'lr'"),
        ("training.lr=fast", "training.lr: expected float"),
        ("trainin.lr=3", "did you mean 'training'"),
        ("training.lr", "write key=value"),
        ("data.sample_rate=16000", "model.sample_rate is 8000 but data.sample_rate is 16000"),
    ],
)
def test_a_wrong_override_ends_with_one_message(cli, place, word, message):
    ran = cli("train", "tiny.yaml", word)
    assert ran.code == 1
    assert message in ran.err
    assert not (place / "runs").exists()


def test_a_missing_recipe_is_named(cli, place):
    ran = cli("train", "tinny.yaml")
    assert ran.code == 1
    assert "did you mean 'tiny.yaml'" in ran.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_is_saved_and_says_how_to_go_on(cli, place, monkeypatch, number):
    from unmingle.training.keeper import RunKeeper

    tell, handler = RunKeeper.tell, signal.getsignal(number)

    def interrupt(keeper):
        tell(keeper)
        if keeper.standing.step == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(RunKeeper, "tell", interrupt)
    ran = cli("train", "tiny.yaml", "training.max_steps=50", "training.validate_steps=100")
    assert ran.code == 128 + number
    assert "Stopped after step 3; continue with" in ran.err
    assert (place / "runs" / "tiny" / "last.ckpt").exists()
    assert signal.getsignal(number) == handler


def test_a_second_ctrl_c_ends_at_once(cli, place, monkeypatch):
    from unmingle.training.keeper import RunKeeper

    tell = RunKeeper.tell

    def interrupt(keeper):
        tell(keeper)
        if keeper.standing.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunKeeper, "tell", interrupt)
    assert cli("train", "tiny.yaml", "training.max_steps=50", "training.validate_steps=100").code == 130


def test_processes_train_together_even_where_a_file_holds_more_than_the_network_uses(place):
    words = ["tiny.yaml", "model.n_iterations=1", "training.n_devices=2", "training.device=cpu"]
    command = [sys.executable, "-m", "unmingle", "train", *words]
    subprocess.run(command, cwd=place, check=True, timeout=300, capture_output=True)
    with (place / "runs" / "tiny" / "log.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert last["step"] == "3"
    assert float(last["audio_hours"]) == pytest.approx(2 * 3 * 2 * 0.3 / 3600, abs=1e-4)
