import numpy as np
import pytest
import soundfile
import torch

from unmingle.data.manifest import Entry, read_manifest, write_manifest

RATE = 8_000


@pytest.fixture
def corpus(tmp_path):
    """A manifest of four half-second mixtures of two noises, and the folder that it lies in."""
    folder = tmp_path / "corpus"
    entries = []
    for number, pair in enumerate(["MF", "FF", "MF", "MM"]):
        sources = 0.1 * np.random.default_rng(number).standard_normal((2, RATE // 2)).astype(np.float32)
        entries.append(write_mixture(folder, f"m{number}", sources, pair=pair))
    write_manifest(folder / "manifest.jsonl", entries)
    return folder


def write_mixture(folder, name, sources, **extra):
    paths = []
    for place, samples in (("mix", sources.sum(axis=0)), ("s1", sources[0]), ("s2", sources[1])):
        path = folder / place / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        paths.append(path)
    return Entry(id=name, sample_rate=RATE, mixture=paths[0], sources=tuple(paths[1:]), extra=extra)


@pytest.fixture
def entries(corpus):
    return read_manifest(corpus / "manifest.jsonl")


class Oracle:
    """Knows the sources; hands them out in the wrong order, with noise 20 dB below each."""

    in_order = False

    def __init__(self):
        self.asked = []

    def describe(self):
        return {"estimates_from": "an oracle", "model": "oracle"}

    def check(self, entry):
        pass

    def __call__(self, utterance):
        self.asked.append(utterance.id)
        noise = torch.randn(utterance.sources.shape, generator=torch.Generator().manual_seed(len(utterance.id)))
        return (utterance.sources + 0.1 * utterance.sources.std() * noise).flip(0)


@pytest.fixture
def oracle():
    return Oracle()
