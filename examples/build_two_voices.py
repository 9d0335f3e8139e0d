"""Build the demo recording from its two sources: a LibriVox reading and an Italian telephone prompt.

The sources are the `pocketsphinx` source distribution (its folder test/data/librivox) and the Debian package
asterisk-core-sounds-it-g722 (its file demo-congrats.g722), unpacked by hand. Usage:

    python examples/build_two_voices.py LIBRIVOX_FOLDER CONGRATS_G722 examples/two-voices

One speaker alone, both together, the other alone; each voice is kept as a reference, and the mixture is
their exact sum.
"""

import sys
from pathlib import Path

import av
import numpy as np
import soundfile as sf

SAMPLE_RATE = 16_000
SECONDS = 15.0
SECOND_VOICE_STARTS = 4.0
RMS = 0.06  # of each voice while it speaks: -24 dBFS


def read_prompt(path: Path) -> np.ndarray:
    """Decode raw G.722, (time,) float32 at 16 kHz."""
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768


def read_passage(folder: Path) -> np.ndarray:
    """Three sentences of chapter 1 of "Sense and Sensibility", (time,) float32 at 16 kHz."""
    names = ("0870", "0880", "0890")
    sentences = [
        sf.read(folder / f"sense_and_sensibility_01_austen_64kb-{name}.wav", dtype="float32") for name in names
    ]
    assert all(rate == SAMPLE_RATE for _, rate in sentences)
    return np.concatenate([samples for samples, _ in sentences])


def place(voice: np.ndarray, *, start: float, stop: float) -> np.ndarray:
    """Put a voice into silence at a standard level, with 20 ms fades, (time,)."""
    first, n_samples = round(start * SAMPLE_RATE), round((stop - start) * SAMPLE_RATE)
    cut = voice[:n_samples] - voice[:n_samples].mean()
    fade = np.minimum(1, np.arange(len(cut)) / (0.02 * SAMPLE_RATE))
    track = np.zeros(round(SECONDS * SAMPLE_RATE), np.float32)
    track[first : first + len(cut)] = cut * fade * fade[::-1] * RMS / np.sqrt(np.mean(cut**2))
    return track


def main() -> None:
    librivox, prompt, output = (Path(argument) for argument in sys.argv[1:])
    passage = read_passage(librivox)
    references = [
        place(passage, start=0.2, stop=11.0),
        place(read_prompt(prompt), start=SECOND_VOICE_STARTS, stop=SECONDS - 0.2),
    ]
    # Quantise the references first, so that the stored mixture is the exact sum of the stored references.
    steps = [np.round(reference * 32768).astype(np.int16) for reference in references]
    output.mkdir(parents=True, exist_ok=True)
    for number, reference in enumerate(steps, start=1):
        sf.write(output / f"reference_{number}.flac", reference, SAMPLE_RATE)
    sf.write(output / "mixture.flac", steps[0] + steps[1], SAMPLE_RATE)


if __name__ == "__main__":
    main()
