import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from unmingle.errors import ConfigError, ManifestError, MissingExtraError, OutputExistsError, ShapeError
from unmingle.evaluation import evaluate as room
from unmingle.evaluation.evaluate import evaluate, labels_of

METRICS = ("si_snr", "sdr")


def test_every_mixture_is_scored_in_the_order_of_the_manifest(tmp_path, entries, oracle):
    found = evaluate(entries, oracle, tmp_path / "out", metrics=METRICS)
    assert [one.id for one in found.utterances] == ["m0", "m1", "m2", "m3"]
    for one in found.utterances:
        assert one.order == (2, 1)
        assert one.seconds == 0.5
        assert one.scores["si_snr"].estimates == pytest.approx((20.0, 20.0), abs=1.0)
        assert one.improvement("si_snr") == pytest.approx(20.0, abs=1.5)
        assert one.scores["sdr"].estimates == pytest.approx((20.6, 20.6), abs=1.5)  # 512 of 4000 samples are forgiven
    assert [one.labels["pair"] for one in found.utterances] == ["MF", "FF", "MF", "MM"]


def test_an_interrupted_evaluation_goes_on_where_it_stopped(tmp_path, entries, oracle):
    whole = evaluate(entries, oracle, tmp_path / "whole", metrics=METRICS)
    oracle.asked.clear()

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(entries, oracle, tmp_path / "out", metrics=METRICS, progress=interrupt)
    resumed = evaluate(entries, oracle, tmp_path / "out", metrics=METRICS, resume=True)
    assert oracle.asked == ["m0", "m1", "m2", "m3"]
    assert resumed == whole
    assert (tmp_path / "out/scores.csv").read_bytes() == (tmp_path / "whole/scores.csv").read_bytes()


@pytest.mark.parametrize("left", [-1, -12, -40, 20])
def test_a_table_cut_short_anywhere_is_gone_on_with(tmp_path, entries, oracle, left):
    evaluate(entries, oracle, tmp_path, metrics=METRICS)
    whole = (tmp_path / "scores.csv").read_bytes()
    (tmp_path / "scores.csv").write_bytes(whole[:left])
    evaluate(entries, oracle, tmp_path, metrics=METRICS, resume=True)
    assert (tmp_path / "scores.csv").read_bytes() == whole


def test_starting_again_removes_what_lay_beside_the_old_table(tmp_path, entries, oracle):
    evaluate(entries, oracle, tmp_path, metrics=METRICS)
    for name in ("report.json", "report.md", "improvement.png", "input_output.png"):
        (tmp_path / name).write_text("of the old scores")
    evaluate(entries, oracle, tmp_path, metrics=METRICS, overwrite=True)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"scores.csv", "protocol.json"}


def test_keys_of_the_manifest_that_are_called_as_scores_are_no_columns(entries):
    assert labels_of(replace(entries[0], extra={"si_snr_1": 3.0, "pair": "MF"})) == {"pair": "MF"}


def test_finished_scores_are_neither_repeated_nor_overwritten_unasked(tmp_path, entries, oracle):
    evaluate(entries, oracle, tmp_path, metrics=METRICS)
    with pytest.raises(OutputExistsError, match="--resume to go on, --overwrite"):
        evaluate(entries, oracle, tmp_path, metrics=METRICS)
    evaluate(entries, oracle, tmp_path, metrics=METRICS, resume=True)
    assert len(oracle.asked) == 4
    evaluate(entries, oracle, tmp_path, metrics=METRICS, overwrite=True)
    assert len(oracle.asked) == 8


@pytest.mark.parametrize("name", ["report.md", "report.json", "improvement.png", "input_output.png", "protocol.json"])
def test_files_of_somebody_else_stay(tmp_path, entries, oracle, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExistsError, match=name):
        evaluate(entries, oracle, tmp_path, metrics=METRICS)
    assert (tmp_path / name).read_text() == "mine"
    assert not oracle.asked


def test_what_an_estimator_says_of_itself_may_hold_tuples(tmp_path, entries, oracle):
    oracle.describe = lambda: {"estimates_from": "an oracle", "options": {"only": ("alice",)}}
    evaluate(entries, oracle, tmp_path, metrics=METRICS)
    evaluate(entries, oracle, tmp_path, metrics=METRICS, resume=True)
    assert len(oracle.asked) == 4


def test_resuming_another_evaluation_is_refused(tmp_path, entries, oracle):
    evaluate(entries, oracle, tmp_path, metrics=METRICS)
    with pytest.raises(OutputExistsError, match=r"another evaluation.*metrics"):
        evaluate(entries, oracle, tmp_path, metrics=("si_snr",), resume=True)
    with pytest.raises(OutputExistsError, match=r"n_mixtures: 4 there, 3 now"):
        evaluate(entries[:3], oracle, tmp_path, metrics=METRICS, resume=True)
    for folder in ("mix", "s1", "s2"):
        path = tmp_path / "corpus" / folder / "m0.wav"
        path.write_bytes(path.read_bytes()[::-1])  # as large, and called the same
    with pytest.raises(OutputExistsError, match="mixtures_sha256"):
        evaluate(entries, oracle, tmp_path, metrics=METRICS, resume=True)
    oracle.describe = lambda: {"estimates_from": "an oracle", "model": "another"}
    with pytest.raises(OutputExistsError, match="'oracle' there, 'another' now"):
        evaluate(entries, oracle, tmp_path, metrics=METRICS, resume=True)


def test_the_protocol_is_stated(tmp_path, entries, oracle):
    evaluate(entries, oracle, tmp_path, metrics=METRICS)
    stated = json.loads((tmp_path / "protocol.json").read_text())
    assert stated["utterances"] == "whole, one at a time"
    assert "512-tap" in stated["metrics"]["sdr"]
    assert "means removed" in stated["metrics"]["si_snr"]
    assert set(stated["packages"]) == {"torch", "fast_bss_eval"}
    assert stated["packages"]["fast_bss_eval"]
    assert str(tmp_path) not in json.dumps(stated)


def test_unknown_metrics_are_refused_with_the_near_name(tmp_path, entries, oracle):
    with pytest.raises(ConfigError, match=r"no metric 'si_snir', only si_snr, sdr.*; did you mean 'si_snr'\?"):
        evaluate(entries, oracle, tmp_path, metrics=["si_snir"])
    with pytest.raises(ConfigError, match="no metric was chosen"):
        evaluate(entries, oracle, tmp_path, metrics=[])


def test_nothing_is_begun_when_something_is_missing(tmp_path, entries, oracle, monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"fast_bss_eval.*unmingle\[eval\]"):
        evaluate(entries, oracle, tmp_path / "out", metrics=METRICS)
    odd = [replace(entry, sample_rate=11_025) for entry in entries]
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"PESQ is defined at 8000 and 16000 Hz.*11025"):
        evaluate(odd, oracle, tmp_path / "out", metrics=["pesq"])
    with pytest.raises(ManifestError, match="no entries"):
        evaluate([], oracle, tmp_path / "out")
    with pytest.raises(ManifestError, match="two entries called 'm0'"):
        evaluate([entries[0], entries[0]], oracle, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert oracle.asked == []


def test_si_snr_alone_needs_no_optional_package(tmp_path, entries, oracle, monkeypatch):
    for package in ("fast_bss_eval", "pesq", "pystoi", "matplotlib", "scipy", "torchmetrics"):
        monkeypatch.setitem(sys.modules, package, None)
    assert len(evaluate(entries, oracle, tmp_path, metrics=["si_snr"]).utterances) == 4


def test_estimates_of_another_shape_are_refused_by_name(tmp_path, entries, oracle):
    oracle.__class__.__call__, before = lambda self, utterance: torch.zeros(3, 7), oracle.__class__.__call__
    try:
        with pytest.raises(ShapeError, match=r"mixture 'm0' are \(3, 7\)"):
            evaluate(entries, oracle, tmp_path, metrics=["si_snr"])
    finally:
        oracle.__class__.__call__ = before


def test_only_plain_values_of_the_manifest_become_columns(tmp_path, entries, oracle):
    entries = [replace(entry, extra={"pair": "MF", "snr": 2.5, "gains": [1, 2], "id": "no"}) for entry in entries]
    evaluate(entries, oracle, tmp_path, metrics=["si_snr"])
    header = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert header.startswith("id,pair,snr,seconds,order,si_snr_1,si_snr_2,si_snr_mixture_1,si_snr_mixture_2,")


def test_a_source_of_another_length_is_refused(tmp_path, entries, oracle):
    import soundfile

    soundfile.write(entries[1].sources[0], np.zeros(10, np.float32), 8_000)
    with pytest.raises(ShapeError, match="10 samples but its mixture has 4000"):
        evaluate(entries, oracle, tmp_path / "out", metrics=["si_snr"])
