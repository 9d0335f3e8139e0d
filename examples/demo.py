"""Separate the bundled recording of two people talking at once, and measure how far the voices came apart."""

from pathlib import Path

import numpy as np
import torch

import unmingle
from unmingle.audio.io import read_audio
from unmingle.inference.plot import plot_separation
from unmingle.metrics.permutation import best_permutation, pairwise, permute
from unmingle.metrics.scores import si_snr

HERE = Path(__file__).parent / "two-voices"
OUTPUT = Path("demo-output")


def improvement_db(estimates: np.ndarray, sources: np.ndarray, mixture: np.ndarray) -> float:
    """SI-SNR of the tracks, best permutation, minus that of the mixture; mean over speakers, in dB."""
    separated, reference = torch.from_numpy(estimates)[None], torch.from_numpy(sources)[None]
    matched = permute(separated, best_permutation(pairwise(si_snr, estimates=separated, sources=reference)))
    before = si_snr(estimate=torch.from_numpy(mixture).expand_as(reference), reference=reference)
    return float((si_snr(estimate=matched, reference=reference) - before).mean())


def main() -> None:
    """Separate, save the tracks and their picture, print what happened."""
    recording = HERE / "mixture.flac"
    print("Two people: a woman reads a novel; from 4 s to 11 s a man gives a telephone prompt at the same time.")
    result = unmingle.separate_file(recording)
    tracks = result.save(OUTPUT, overwrite=True)
    picture = plot_separation(recording, tracks, OUTPUT / "two-voices.png")
    print(f"Separated {recording.parent.name}/{recording.name} with {result.report.model}:")
    for path, track in zip(tracks, result.tracks, strict=True):
        print(f"  {path}   {track.level_dbfs:.1f} dBFS, {track.active_seconds:.1f} s of speech")
    print(f"  {picture}   the recording and its tracks")
    sources = np.concatenate([read_audio(HERE / f"reference_{number}.flac").samples for number in (1, 2)])
    gain = improvement_db(result.estimates, sources, read_audio(recording).samples)
    print(f"Improvement over the recording as it was: {gain:.1f} dB SI-SNRi")


if __name__ == "__main__":
    main()
