import json

import numpy as np
import pytest
import soundfile

RATE = 8_000


@pytest.fixture
def manifest(tmp_path):
    """Two half-second mixtures of two noises."""
    folder = tmp_path / "corpus"
    lines = []
    for number, pair in enumerate(["MF", "FF"]):
        sources = 0.1 * np.random.default_rng(number).standard_normal((2, RATE // 2)).astype(np.float32)
        for place, samples in (("mix", sources.sum(axis=0)), ("s1", sources[0]), ("s2", sources[1])):
            (folder / place).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / place / f"m{number}.wav", samples, RATE, subtype="FLOAT")
        files = {"mixture": f"mix/m{number}.wav", "sources": [f"s1/m{number}.wav", f"s2/m{number}.wav"]}
        lines.append(json.dumps({"id": f"m{number}", "sample_rate": RATE, **files, "pair": pair}))
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_model_is_scored_into_table_report_and_plots(cli, tiny, manifest, tmp_path):
    ran = cli("evaluate", tiny, manifest, "-o", tmp_path / "out", "--metrics", "si_snr,sdr")
    assert ran.code == 0, ran.err
    assert "| all | SI-SNR (dB) | 2 |" in ran.out
    assert "| FF | SDR (dB) | 1 |" in ran.out
    assert "whole" in ran.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"scores.csv", "protocol.json", "report.json", "report.md", "improvement.png", "input_output.png"}
    assert (tmp_path / "out/scores.csv").read_text().count("\n") == 3


def test_json_on_stdout_is_the_report(cli, tiny, manifest, tmp_path):
    ran = cli("evaluate", tiny, manifest, "-o", tmp_path / "out", "--metrics", "si_snr", "--json", "--no-plot")
    report = json.loads(ran.out)
    assert report == json.loads((tmp_path / "out/report.json").read_text())
    assert report["groups"]["all"]["si_snr"]["n_mixtures"] == 2
    assert report["protocol"]["model"] == "tiny"
    assert len(report["protocol"]["weights_sha256"]) == 16


def test_files_that_are_the_sources_are_perfect_and_said_to_be(cli, manifest, tmp_path):
    ran = cli("evaluate", manifest, "--estimates", manifest.parent, "-o", tmp_path / "out", "--metrics", "si_snr,stoi")
    assert ran.code == 0, ran.err
    assert "SI-SNR (dB): 4 of 4 sources are in no mean (4 perfect estimates" in ran.err
    assert "| all | SI-SNR (dB) | 0 | - | - | - | - |" in ran.out


def test_swapped_files_are_put_in_order(cli, manifest, tmp_path):
    mixed = tmp_path / "separated"
    mixed.mkdir()
    for name in ("m0", "m1"):
        one, two = (soundfile.read(manifest.parent / place / f"{name}.wav")[0] for place in ("s1", "s2"))
        soundfile.write(mixed / f"{name}_spk1.wav", two + 0.1 * one, RATE, subtype="FLOAT")
        soundfile.write(mixed / f"{name}_spk2.wav", one + 0.1 * two, RATE, subtype="FLOAT")
    ran = cli("evaluate", manifest, "--estimates", mixed, "-o", tmp_path / "out", "--metrics", "si_snr", "--json")
    overall = json.loads(ran.out)["groups"]["all"]["si_snr"]
    assert overall["estimates"] == pytest.approx(20.0, abs=0.5)
    assert overall["improvement"] == pytest.approx(20.0, abs=0.5)


def test_a_second_run_wants_to_be_told(cli, tiny, manifest, tmp_path):
    command = ("evaluate", tiny, manifest, "-o", tmp_path / "out", "--metrics", "si_snr", "--no-plot", "--limit", "1")
    first = cli(*command)
    again = cli(*command)
    assert (first.code, again.code) == (0, 1)
    assert "--resume to go on" in again.err
    assert cli(*command, "--resume").out == first.out
    assert cli(*command, "--overwrite").out == first.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{tiny}", "{manifest}", "--metrics", "sisnr"], 2, "did you mean 'si_snr'"),
        (["nonesuch", "{manifest}"], 1, "nonesuch"),
        (["{tiny}", "{folder}/none.jsonl"], 1, "none.jsonl"),
        (["{manifest}", "--estimates", "{folder}/none"], 1, "no folder"),
        (["{tiny}", "{manifest}", "--by", "nosuch"], 2, "has 'nosuch' to group by"),
    ],
)
def test_what_cannot_be_scored_is_one_message(cli, tiny, manifest, tmp_path, arguments, code, words):
    places = {"tiny": tiny, "manifest": manifest, "folder": tmp_path}
    ran = cli("evaluate", *(argument.format(**places) for argument in arguments), "-o", tmp_path / "out")
    assert ran.code == code
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


def test_files_go_through_no_pipeline(cli, manifest, tmp_path):
    ran = cli("evaluate", manifest, "--estimates", tmp_path, "--pipeline", "-o", tmp_path / "out")
    assert (ran.code, "--pipeline is for a model" in ran.err) == (2, True)


def test_a_model_and_files_together_are_misuse(cli, tiny, manifest, tmp_path):
    ran = cli("evaluate", tiny, manifest, "--estimates", tmp_path, "-o", tmp_path / "out")
    assert ran.code == 2
    assert "MANIFEST alone with --estimates" in ran.err
