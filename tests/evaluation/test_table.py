import math

import pytest

from unmingle.errors import ManifestError
from unmingle.evaluation.scoring import SourceScores
from unmingle.evaluation.table import Layout, TableWriter, UtteranceScores, read_table

LAYOUT = Layout(("pair",), ("si_snr", "sdr"), 3)


def scored(name="a", n_src=2, pair="MF"):
    values = tuple(1.25 * k for k in range(n_src))
    one = SourceScores(values, tuple(-value for value in values))
    return UtteranceScores(name, {"pair": pair}, 4.0, tuple(range(n_src, 0, -1)), {"si_snr": one, "sdr": one})


def write(path, *utterances):
    writer = TableWriter(path, LAYOUT)
    for utterance in utterances:
        writer.append(utterance)
    writer.close()


def test_a_table_survives_the_round_trip(tmp_path):
    extremes = SourceScores((math.inf, -math.inf), (0.5, 0.25))
    odd = UtteranceScores('with "quotes", commas', {"pair": ""}, 1.5, (1, 2), {"si_snr": extremes, "sdr": extremes})
    utterances = [scored(), scored("b", n_src=3), odd]
    write(tmp_path / "scores.csv", *utterances)
    assert read_table(tmp_path / "scores.csv", LAYOUT) == utterances


def test_undefined_scores_survive_too(tmp_path):
    one = SourceScores((math.nan, 2.0), (0.0, 1.0))
    write(tmp_path / "scores.csv", UtteranceScores("a", {}, 1.0, (1, 2), {"si_snr": one, "sdr": one}))
    back = read_table(tmp_path / "scores.csv", LAYOUT)[0]
    assert math.isnan(back.scores["sdr"].estimates[0])
    assert back.improvement("sdr") == 1.0


def test_a_line_cut_short_is_dropped_and_the_table_goes_on(tmp_path):
    path = tmp_path / "scores.csv"
    write(path, scored("a"), scored("b"))
    path.write_bytes(path.read_bytes()[:-7])
    write(path, scored("c"))
    assert [utterance.id for utterance in read_table(path, LAYOUT)] == ["a", "c"]


def test_a_header_cut_short_is_written_again(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("id,pa")
    write(path, scored("a"))
    assert [utterance.id for utterance in read_table(path, LAYOUT)] == ["a"]


def test_each_line_is_on_disk_before_the_next_is_scored(tmp_path):
    writer = TableWriter(tmp_path / "scores.csv", LAYOUT)
    writer.append(scored("a"))
    assert [utterance.id for utterance in read_table(tmp_path / "scores.csv", LAYOUT)] == ["a"]
    writer.close()


def test_other_columns_and_damaged_cells_are_refused(tmp_path):
    path = tmp_path / "scores.csv"
    write(path, scored())
    with pytest.raises(ManifestError, match="other columns"):
        read_table(path, Layout((), ("si_snr",), 2))
    path.write_text(path.read_text().replace("1.2500", "much"))
    with pytest.raises(ManifestError, match="line 2"):
        read_table(path, LAYOUT)
