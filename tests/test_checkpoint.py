"""Weights files: what goes in comes out, and nothing else is accepted."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unmingle import __version__
from unmingle.checkpoint import fetch, fit, load_checkpoint, read_card, read_metadata, read_tensors, save_checkpoint
from unmingle.checkpoint.int8 import STEPS, has_long_rows, rounded, spelt_out
from unmingle.errors import CheckpointError, MissingFileError, OutputError, UnknownModelError
from unmingle.models import build_model
from unmingle.presets import TDANetConfig

TINY = TDANetConfig(sample_rate=8000, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)
OUR_METADATA = {"name": "tiny", "family": "tdanet", "config": "{}", "unmingle_version": "0.1.0"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(TINY).eval()


@pytest.fixture
def saved(model, tmp_path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, model, name="tiny")
    return path


def resave(path: Path, *, tensors=None, **changes: str | None) -> Path:
    """The same file with other metadata (None removes a key) or other tensors."""
    metadata = {**read_metadata(path), **changes}
    kept = {key: value for key, value in metadata.items() if value is not None}
    save_file(tensors if tensors is not None else load_file(path), path, metadata=kept)
    return path


def test_a_saved_model_comes_back_the_same(model, saved):
    back = load_checkpoint(saved)
    mixture = torch.randn(2, 2000)
    with torch.inference_mode():
        assert torch.equal(back(mixture), model(mixture))
    assert back.config == TINY
    assert not back.training
    assert {value.dtype for value in back.parameters()} == {torch.float32}


def test_the_card_says_what_was_saved_and_keeps_anything_more(model, tmp_path):
    path = tmp_path / "new" / "folder" / "model.safetensors"
    metadata = {
        "recipe": "r.yaml",
        "training_data": "readings",
        "licence": "MIT",
        "scores": {"si_sdr": 9.5},
        "note": [1],
    }
    save_checkpoint(path, model, name="mine", metadata=metadata)
    card = read_card(path)
    assert (card.name, card.family, card.config) == ("mine", "tdanet", TINY)
    assert (card.recipe, card.training_data, card.licence, card.source) == ("r.yaml", "readings", "MIT", "")
    assert card.scores == {"si_sdr": 9.5}
    assert card.other == {"note": "[1]"}
    assert card.unmingle_version == __version__
    assert card.parameters == sum(value.numel() for value in model.parameters())


def test_reading_a_card_does_not_import_torch(saved):
    code = (
        "import sys; from unmingle.checkpoint import read_card as r; r(sys.argv[1]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(saved)], check=True)


@pytest.mark.parametrize("dtype", ["float16", torch.float16])
def test_float16_halves_the_file_and_loads_as_float32(model, saved, tmp_path, dtype):
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, model, name="tiny", dtype=dtype)
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    back = dict(load_checkpoint(path).named_parameters())
    for key, value in model.named_parameters():
        assert torch.equal(back[key], value.half().float())


def test_int8_keeps_every_weight_within_half_a_step_of_its_row(model, tmp_path):
    path = tmp_path / "bytes.safetensors"
    save_checkpoint(path, model, name="tiny", dtype="int8")
    stored, back = load_file(path), dict(load_checkpoint(path).named_parameters())
    in_bytes = {key for key, value in stored.items() if value.dtype == torch.int8}
    assert in_bytes
    for key, value in model.named_parameters():
        if key in in_bytes:
            half_a_step = value.detach().flatten(1).abs().amax(1, keepdim=True) / 254
            assert bool(((back[key] - value).flatten(1).abs() <= 1.001 * half_a_step).all())
        else:
            assert torch.equal(back[key], value.half().float())
    read = read_tensors(path)
    assert read.keys() == model.state_dict().keys()
    assert {read[key].dtype for key in in_bytes} == {torch.float32}


def test_int8_keeps_rows_of_zeros_and_numbers_far_apart():
    model = build_model(TINY)
    matrix = next(value for value in model.parameters() if has_long_rows(value))
    with torch.no_grad():
        matrix[0] = 0
        matrix[1] = 3e8
    multiples, steps = rounded(matrix.detach())
    back = spelt_out({"m": multiples, "m" + STEPS: steps}, where="here")["m"]
    assert torch.equal(back[0], torch.zeros_like(back[0]))
    torch.testing.assert_close(back[1], matrix[1], rtol=1e-6, atol=0)


def test_steps_without_their_matrix_are_named(model, tmp_path):
    path = tmp_path / "bytes.safetensors"
    save_checkpoint(path, model, name="tiny", dtype="int8")
    tensors = load_file(path)
    steps = next(key for key in tensors if key.endswith(STEPS))
    resave(path, tensors={key: value for key, value in tensors.items() if key != steps.removesuffix(STEPS)})
    with pytest.raises(CheckpointError, match=f"has {steps} but not the int8 matrix"):
        read_tensors(path)


def test_other_storage_types_and_values_beyond_float16_are_refused(tmp_path):
    model = build_model(TINY)
    with pytest.raises(CheckpointError, match="bfloat16; choose float32, float16, int8"):
        save_checkpoint(tmp_path / "x.safetensors", model, name="x", dtype=torch.bfloat16)
    key, parameter = next(iter(model.named_parameters()))
    torch.nn.init.constant_(parameter, 1e6)
    with pytest.raises(CheckpointError, match=f"{key} holds values beyond"):
        save_checkpoint(tmp_path / "x.safetensors", model, name="x", dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_saving_needs_no_reserved_metadata(model, tmp_path):
    with pytest.raises(CheckpointError, match="config, family"):
        save_checkpoint(tmp_path / "x.safetensors", model, name="x", metadata={"family": "other", "config": "{}"})


def test_a_failed_save_leaves_the_old_file_and_no_other(saved, monkeypatch, model):
    before = saved.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        save_checkpoint(saved, model, name="other")
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_is_no_place_to_save_and_no_file_to_load(model, tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        save_checkpoint(tmp_path, model, name="x")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint(tmp_path)


def test_loading_leaves_global_randomness_alone(saved):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_checkpoint(saved)
    assert torch.equal(torch.rand(1), expected)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"nowhere\.safetensors"):
        load_checkpoint(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"RIFF and some text that is no model", "not a whole safetensors file"),
        (b"\xff" * 64, "not a whole safetensors file"),
        ((20).to_bytes(8, "little") + b"this is not any JSON", "not a whole safetensors file"),
    ],
)
@pytest.mark.parametrize("read", [read_card, load_checkpoint])
def test_files_of_another_kind_are_refused_in_words(tmp_path, content, message, read):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read(path)


@pytest.mark.parametrize("kept", [4, 200, 0.5, -1])
def test_truncated_files_are_refused(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match="Copy or fetch it again"):
        load_checkpoint(saved)


def test_a_single_changed_byte_among_the_tensors_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[-100] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="sha256"):
        load_checkpoint(saved)


def test_a_safetensors_file_of_somebody_else_is_sent_to_import(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="unmingle import"):
        read_card(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": "{not json"}, "config in its metadata is not JSON"),
        ({"config": "[1, 2]"}, "not a JSON object"),
        ({"scores": "high"}, "scores in its metadata is not JSON"),
        ({"family": "tdanett"}, "tdanet"),
        ({"config": json.dumps({"depht": 3})}, "depth"),
        ({"config": json.dumps({"depth": "three"})}, "depth"),
        ({"unmingle_version": None}, "no unmingle_version"),
    ],
)
def test_metadata_that_describes_no_model_is_refused(saved, changes, message):
    resave(saved, **changes)
    with pytest.raises(CheckpointError, match=message):
        read_card(saved)


def test_a_file_of_a_newer_version_says_so(saved):
    config = json.loads(read_metadata(saved)["config"])
    resave(saved, config=json.dumps({**config, "invented_later": 1}), unmingle_version="99.0")
    with pytest.raises(CheckpointError, match=r"written by unmingle 99\.0"):
        load_checkpoint(saved)


def test_missing_surplus_and_misshapen_tensors_are_listed_together(model):
    state = dict(model.state_dict())
    (first, second), value = list(state)[:2], torch.zeros(3, 3, 3, 3)
    del state[first]
    state |= {second: value, "invented.weight": value}
    with pytest.raises(CheckpointError) as caught:
        fit(TINY, state, where="here")
    for part in (f"1 missing: {first}", "1 surplus: invented.weight", f"{second} is (3, 3, 3, 3) instead of"):
        assert part in str(caught.value)


def test_a_config_that_asks_for_terabytes_is_refused_before_anything_is_allocated(model):
    huge = TDANetConfig(sample_rate=8000, channels=8, hidden=2_000_000, depth=3, n_iterations=2)
    with pytest.raises(CheckpointError, match="2000000"):
        fit(huge, model.state_dict(), where="here")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub library with an empty cache and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("cached_only", "reason"), [(True, "neither a file here nor a hub repository"), (False, "network is switched off")]
)
def test_fetching_without_network_says_what_to_run_later(hub, cached_only, reason):
    with pytest.raises(MissingFileError, match=rf"{reason}.*unmingle models pull somebody/something"):
        fetch("somebody/something", cached_only=cached_only)


def test_fetching_finds_what_the_cache_holds(hub, saved):
    snapshot = hub / "models--somebody--something" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    (snapshot / "model.safetensors").write_bytes(saved.read_bytes())
    assert read_card(fetch("somebody/something", cached_only=True)).name == "tiny"


def test_a_full_disk_is_not_taken_for_a_silent_hub(hub, monkeypatch):
    def download(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(OutputError, match=r"cannot be kept in the local cache .*hub: No space left"):
        fetch("somebody/something")


def test_a_name_that_is_no_repository_is_refused(hub):
    with pytest.raises(UnknownModelError, match="owner/name"):
        fetch("no/such/thing")
