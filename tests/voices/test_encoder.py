from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from unmingle.audio.io import read_audio
from unmingle.audio.resample import resample
from unmingle.voices.encoder import average, embed, embed_stretches, encode
from unmingle.voices.mel import mel_power

EXAMPLES = Path(__file__).parents[2] / "examples" / "two-voices"


@pytest.fixture(scope="module")
def readers() -> list[np.ndarray]:
    return [read_audio(EXAMPLES / f"reference_{number}.flac").samples[0] for number in (1, 2)]


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    return load_file(Path(__file__).parent / "encoder.safetensors")


def test_the_network_says_what_the_published_one_says(readers, published):
    stretch = readers[0][:25_600]
    assert encode(stretch[np.newaxis])[0] @ published["vector"] > 1 - 1e-4
    at_its_level = stretch * (10 ** (-25 / 20) / np.sqrt(np.mean(stretch**2)))
    np.testing.assert_allclose(mel_power(at_its_level)[:8], published["mel"], rtol=1e-3, atol=1e-6)


def test_one_person_is_nearer_to_herself_than_to_another(readers):
    first, second = (embed(voice, sample_rate=16_000) for voice in readers)
    own = min(average(voice[:9]) @ average(voice[9:]) for voice in (first, second))
    assert own > average(first) @ average(second) + 0.3


def test_level_and_rate_change_little(readers):
    vector = average(embed(readers[0], sample_rate=16_000))
    faint = average(embed(1e-3 * readers[0], sample_rate=16_000))
    narrow = average(embed(resample(readers[0], from_rate=16_000, to_rate=44_100), sample_rate=44_100))
    assert vector @ faint > 0.999
    assert vector @ narrow > 0.98


def test_silence_has_no_voice():
    assert not embed_stretches(np.zeros((2, 25_600), np.float32)).any()
    assert not average(embed(np.zeros(8000, np.float32), sample_rate=8000)).any()


def test_a_vector_ignores_its_neighbours(readers):
    stretches = np.stack([voice[:25_600] for voice in readers])
    np.testing.assert_allclose(embed_stretches(stretches)[:1], embed_stretches(stretches[:1]), atol=1e-5)
