"""Build the example recordings from a LibriVox reading and two telephone prompts, Italian and Russian.

The sources are the `pocketsphinx` source distribution (its folder test/data/librivox) and the files demo-congrats.g722
of the Debian packages asterisk-core-sounds-it-g722 and asterisk-core-sounds-ru-g722, unpacked by hand. Usage:

    python examples/build_voices.py LIBRIVOX_FOLDER ITALIAN_G722 RUSSIAN_G722 examples

Two voices: one speaker alone, both together, the other alone. Three voices: the same two, and a third between them.
Each voice is kept as a reference, and the mixture is their exact sum.
"""

import sys
from pathlib import Path

import av
import numpy as np
import soundfile as sf

SAMPLE_RATE = 16_000
SECONDS = 15.0
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
    """Put a voice into silence at a standard level, with 20 ms fades, (time,) in steps of 16 bits."""
    first, n_samples = round(start * SAMPLE_RATE), round((stop - start) * SAMPLE_RATE)
    cut = voice[:n_samples] - voice[:n_samples].mean()
    fade = np.minimum(1, np.arange(len(cut)) / (0.02 * SAMPLE_RATE))
    track = np.zeros(round(SECONDS * SAMPLE_RATE), np.float32)
    track[first : first + len(cut)] = cut * fade * fade[::-1] * RMS / np.sqrt(np.mean(cut**2))
    return np.round(track * 32768).astype(np.int16)  # here, so that the stored mixture is the sum of what is stored


def write(folder: Path, references: list[np.ndarray], *, known: int = 0) -> None:
    """Write the sum of references, and those but the first `known`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, reference in enumerate(references[known:], start=known + 1):
        sf.write(folder / f"reference_{number}.flac", reference, SAMPLE_RATE)
    sf.write(folder / "mixture.flac", np.sum(references, axis=0, dtype=np.int16), SAMPLE_RATE)


def main() -> None:
    librivox, italian, russian, output = (Path(argument) for argument in sys.argv[1:])
    reader = place(read_passage(librivox), start=0.2, stop=11.0)
    caller = place(read_prompt(italian), start=4.0, stop=SECONDS - 0.2)
    third = place(read_prompt(russian), start=2.0, stop=13.0)
    write(output / "two-voices", [reader, caller])
    write(output / "three-voices", [reader, caller, third], known=2)


if __name__ == "__main__":
    main()
