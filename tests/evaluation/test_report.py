import json
import math

import pytest

from unmingle.evaluation.evaluate import Evaluation
from unmingle.evaluation.plots import write_plots
from unmingle.evaluation.report import markdown, summarise, summarise_metric, warnings, write_report
from unmingle.evaluation.scoring import SourceScores
from unmingle.evaluation.table import UtteranceScores

PROTOCOL = {
    "unmingle_version": "1",
    "estimates_from": "network",
    "model": "tiny",
    "utterances": "whole",
    "n_mixtures": 3,
    "improvement": "difference",
    "mean": "over sources, then mixtures",
    "metrics": {"si_snr": "means removed"},
    "packages": {"torch": "2"},
}


def evaluation(*scores, pairs=("MF", "FF", "MF")):
    utterances = [
        UtteranceScores(f"m{number}", {"pair": pair}, 1.0, (1, 2), {"si_snr": SourceScores(*one)})
        for number, (one, pair) in enumerate(zip(scores, pairs, strict=True))
    ]
    return Evaluation(utterances, PROTOCOL)


PLAIN = (((10.0, 6.0), (0.0, 0.0)), ((4.0, 4.0), (1.0, -1.0)), ((2.0, 0.0), (-1.0, 1.0)))


def test_means_are_over_sources_then_over_mixtures():
    report = summarise(evaluation(*PLAIN))
    assert list(report.groups) == ["all", "FF", "MF"]
    overall = report.groups["all"]["si_snr"]
    assert overall.improvement == pytest.approx((8 + 4 + 1) / 3)
    assert overall.estimates == pytest.approx((8 + 4 + 1) / 3)
    assert overall.mixture == pytest.approx(0.0)
    assert overall.improvement_median == 4.0
    assert report.groups["MF"]["si_snr"].improvement == pytest.approx(4.5)
    assert report.groups["FF"]["si_snr"].n_mixtures == 1
    assert warnings(report) == []


def test_a_group_may_be_called_all():
    report = summarise(evaluation(*PLAIN, pairs=("all", "FF", "all")))
    assert list(report.groups) == ["all", "FF", "pair all"]
    assert report.groups["all"]["si_snr"].n_mixtures == 3
    assert report.groups["pair all"]["si_snr"].n_mixtures == 2


def test_the_interval_is_that_of_the_mean():
    overall = summarise(evaluation(*PLAIN)).groups["all"]["si_snr"]
    spread = math.sqrt(((8 - 13 / 3) ** 2 + (4 - 13 / 3) ** 2 + (1 - 13 / 3) ** 2) / 2)
    assert overall.improvement_std == pytest.approx(spread)
    assert overall.improvement_ci95 == pytest.approx(1.96 * spread / math.sqrt(3))


def test_what_is_not_finite_is_counted_and_not_averaged():
    summary = summarise_metric(
        [
            SourceScores((math.inf, 6.0), (0.0, 1.0)),  # perfect
            SourceScores((-math.inf, 4.0), (0.0, 1.0)),  # silent estimate
            SourceScores((math.nan, 2.0), (math.nan, 1.0)),  # silent source
            SourceScores((7.0, math.nan), (math.inf, math.nan)),  # the mixture is the source: the other one is silent
        ]
    )
    assert summary.improvement == pytest.approx((5 + 3 + 1) / 3)
    assert (summary.n_mixtures, summary.n_sources) == (3, 3)
    left = summary.left_out
    assert (left.perfect, left.silent, left.undefined) == (1, 1, 3)
    assert left.total + summary.n_sources == 8


def test_the_report_says_what_it_left_out():
    report = summarise(evaluation(*PLAIN[:2], ((math.inf, 1.0), (0.0, 0.0))))
    assert warnings(report) == [
        "SI-SNR (dB): 1 of 6 sources are in no mean (1 perfect estimates, 0 silent estimates, 0 undefined)."
    ]
    assert warnings(report)[0] in markdown(report)


def test_a_report_of_nothing_finite_is_still_json():
    report = summarise(evaluation(*[((math.nan, math.inf), (0.0, 0.0))] * 3))
    summary = json.loads(json.dumps(report.to_dict(), allow_nan=False))["groups"]["all"]["si_snr"]
    assert summary["improvement"] is None
    assert summary["left_out"] == {"perfect": 3, "silent": 0, "undefined": 3}
    assert "| - |" in markdown(report)


def test_a_manifest_without_groups_has_one():
    report = summarise(evaluation(*PLAIN), by="gender")
    assert list(report.groups) == ["all"]
    assert report.by == ""


def test_the_files_hold_table_and_protocol(tmp_path):
    write_report(summarise(evaluation(*PLAIN)), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| all | SI-SNR (dB) | 3 | 0.00 | 4.33 | 4.33 |" in text
    assert "- SI-SNR (dB): means removed." in text
    assert json.loads((tmp_path / "report.json").read_text())["protocol"] == PROTOCOL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_plots_are_drawn_without_a_window_system(tmp_path):
    import matplotlib as mpl

    before = mpl.get_backend(auto_select=False)
    drawn = write_plots(evaluation(*PLAIN[:2], ((math.inf, 1.0), (0.0, 0.0))), tmp_path)
    assert [path.name for path in drawn] == ["improvement.png", "input_output.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert mpl.get_backend(auto_select=False) == before


def test_nothing_finite_draws_nothing(tmp_path):
    assert write_plots(evaluation(*[((math.nan, math.inf), (0.0, 0.0))] * 3), tmp_path) == []
