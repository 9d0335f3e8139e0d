import math

import pytest
import torch

from unmingle.errors import ExportError
from unmingle.export.check import Agreement, compare


class Shares(torch.nn.Module):
    """The network beside a graph, with shares of its own."""

    def __init__(self, config, shares):
        super().__init__()
        self.config, self.shares = config, torch.tensor(shares)

    def forward(self, mixture):
        return mixture.unsqueeze(1) * self.shares[:, None]


def test_a_graph_of_the_same_network_agrees_at_three_lengths_and_two_batch_sizes(sharer, written):
    agreement = compare(sharer.network, written((0.6, 0.4)))
    agreement.require("sharer")
    assert agreement.max_abs_error < 1e-7
    assert agreement.peak > 0.1
    batches, lengths = ({shape[axis] for shape in agreement.shapes} for axis in (0, 1))
    assert (len(batches), len(lengths)) == (2, 3)


def test_the_error_is_the_largest_difference(sharer, written):
    path = written((0.6, 0.5))
    agreement = compare(sharer.network, path)
    assert agreement.max_abs_error == pytest.approx(agreement.peak / 6, rel=1e-4)
    with pytest.raises(ExportError, match=r"graph of sharer differs from torch by .* nothing was written"):
        agreement.require("sharer")


def test_an_estimate_that_is_no_number_is_a_difference(sharer, written):
    agreement = compare(Shares(sharer.config, (0.6, math.nan)), written((0.6, 0.4)))
    assert math.isnan(agreement.max_abs_error)
    with pytest.raises(ExportError, match="differs from torch by nan"):
        agreement.require("sharer")


def test_another_number_of_tracks_is_an_error(sharer, written):
    with pytest.raises(ExportError, match=r"\(1, 3, 401\) of \(1, 401\), torch \(1, 2, 401\)"):
        compare(sharer.network, written((0.6, 0.3, 0.1)))


@pytest.mark.parametrize(("error", "peak", "fine"), [(9e-5, 1.0, True), (2e-4, 1.0, False), (9e-8, 0.0, True)])
def test_what_is_allowed_is_80_db_below_the_peak(error, peak, fine):
    agreement = Agreement(error, peak, [(1, 10)])
    if fine:
        agreement.require("any")
    else:
        with pytest.raises(ExportError):
            agreement.require("any")
