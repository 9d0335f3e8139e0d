"""Whether an audio-visual network looks: scores with the right faces, with exchanged ones, and without any.

python benchmarks/picture.py MODEL mixtures.jsonl             mixtures with `video`
python benchmarks/picture.py MODEL faces.jsonl -n 100         voices with `video`; clean mixtures of 2 s are drawn
python benchmarks/picture.py MODEL faces.jsonl --json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from unmingle.data.batch import Batch
from unmingle.data.loader import validation_batches
from unmingle.data.settings import DataSettings, MixingSettings, VideoSettings
from unmingle.data.speech import read_rows
from unmingle.evaluation.picture import PictureUse, picture_use
from unmingle.inference.handle import load_model
from unmingle.presets.iianet import IIANetConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name or weights file of an audio-visual network with a lip reader")
    parser.add_argument("manifest", type=Path, help="of mixtures with `video`, or of voices")
    parser.add_argument("-n", type=int, default=50, help="mixtures that are made of voices")
    parser.add_argument("--seconds", type=float, default=2.0, help="their length")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = load_model(options.model)
    if not isinstance(model.config, IIANetConfig) or model.config.lips is None:
        parser.error(f"{options.model} reads no lips")
    data = DataSettings(
        sample_rate=model.sample_rate,
        segment_seconds=options.seconds,
        valid_seconds=options.seconds,
        n_valid=options.n,
        video=VideoSettings(crop=model.config.lips.crop, draw=True),
        mixing=MixingSettings(speed=(1.0, 1.0)),
        **{("valid_manifest" if _of_mixtures(options.manifest) else "valid_speech"): str(options.manifest)},
    )
    batches: Sequence[Batch] = validation_batches(data) or []
    use = picture_use(model.network, batches)
    print(json.dumps({**asdict(use), "worth": use.worth}) if options.json else table(use))


def _of_mixtures(manifest: Path) -> bool:
    return "mixture" in next(read_rows(manifest), {})


def table(use: PictureUse) -> str:
    rows = {
        "the right face": f"{use.right:.2f} dB",
        "its first frame, still": f"{use.still:.2f} dB",
        "level gray": f"{use.blank:.2f} dB",
        "the other's face": f"{use.swapped:.2f} dB",
    }
    lines = [
        "| shown | SI-SNRi of the own voice |",
        "|---|--:|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
    ]
    shares = f"own voice {use.found_share:.0%}, with the other's face the other's voice {use.swapped_share:.0%}"
    return "\n".join([*lines, "", f"{use.n_mixtures} mixtures; nearest to the estimate: {shares}."])


if __name__ == "__main__":
    main()
