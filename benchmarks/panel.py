"""How often does every face get its own voice, and how sure is it then? Scenes are built from clips of single talkers.

    python benchmarks/panel.py FOLDER                          every pair of talkers (3 s), longer ones, ready scenes
    python benchmarks/panel.py FOLDER --pairs 4 --long 1 --json

FOLDER/clips holds TALKER_NAME.mp4 with TALKER_NAME.flac, its clean voice; FOLDER/scenes, where there is one, NAME.mp4
with the references NAME_s1.flac ... from left to right. Pairs are tiled side by side, their voices brought to one level
and added; a longer scene plays several clips of one talker beside another one's. Faces are found in the picture as in
`unmingle separate`, once per clip for pairs. Two questions are asked of every scene:

    references   the clean voices are the tracks: is the assignment right?
    separated    the tracks of the bundled model are: is it still?

A voice is right when the track that a face got is the one that separates this face's voice best. `si_snri` is that of
the tracks against the mixture, with every face given its best track (`best`), and the one that it got (`given`).
"""

import argparse
import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unmingle
from unmingle.audio.io import read_audio
from unmingle.metrics.si_sdr import si_sdr
from unmingle.panel.clock import tick_powers
from unmingle.panel.listening import match
from unmingle.video.faces import find_faces
from unmingle.video.tracks import FaceTrack

LEVEL = 0.06
RATE = 16_000
TOLD_APART = 3.0  # dB by which the best order of the tracks beats the next; below, no order of them is right


@dataclass
class Scene:
    """Faces from left to right and their clean voices, (n, time)."""

    name: str
    kind: str
    faces: list[FaceTrack]
    references: np.ndarray
    mixture: np.ndarray


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    clips = {path.stem: path for path in sorted((options.folder / "clips").glob("*.mp4"))}
    found = {name: find_faces(path).tracks for name, path in clips.items()}
    unseen = [name for name, tracks in found.items() if len(tracks) != 1]
    clips = {name: path for name, path in clips.items() if name not in unseen}
    faces = {name: found[name][0] for name in clips}
    voices = {name: levelled(read_audio(path.with_suffix(".flac")).samples[0]) for name, path in clips.items()}
    scenes = [*ready_scenes(options.folder / "scenes"), *pairs(faces, voices, options), *longer(faces, voices, options)]
    model = unmingle.load_model(options.model)
    rows = [row for scene in scenes for row in judge(scene, model)]
    summary = {
        kind: summarise([row for row in rows if row["kind"] == kind]) for kind in dict.fromkeys(r["kind"] for r in rows)
    }
    right_by_confidence = calibrate([row for row in rows if row["kind"].endswith("separated")])
    if options.json:
        found = {"summary": summary, "right_by_confidence": right_by_confidence, "faces": rows}
        print(json.dumps({"clips_without_one_face": unseen, **found}, indent=2))
        return
    print("clips without exactly one face:", ", ".join(unseen) or "none")
    for kind, values in {**summary, "right by confidence, separated": right_by_confidence}.items():
        print(f"\n{kind}: " + ", ".join(f"{key} {value}" for key, value in values.items()))


def levelled(samples: np.ndarray) -> np.ndarray:
    return (samples * LEVEL / np.sqrt(np.mean(samples**2))).astype(np.float32)


def ready_scenes(folder: Path) -> list[Scene]:
    scenes = []
    for path in sorted(folder.glob("*.mp4")):
        references = [read_audio(one).samples[0] for one in sorted(folder.glob(f"{path.stem}_s*.flac"))]
        mixture = read_audio(folder / f"{path.stem}_mix.flac").samples[0]
        scenes.append(Scene(path.stem, "ready", find_faces(path).tracks, np.stack(references), mixture))
    return scenes


def by_talker(faces: dict[str, FaceTrack]) -> dict[str, list[str]]:
    talkers: dict[str, list[str]] = {}
    for name in faces:
        talkers.setdefault(name.split("_")[0], []).append(name)
    return talkers


def pairs(faces: dict[str, FaceTrack], voices: dict[str, np.ndarray], options: argparse.Namespace) -> list[Scene]:
    """One scene for every two talkers, with one clip of each."""
    random, talkers = np.random.default_rng(options.seed), by_talker(faces)
    both = list(itertools.combinations(talkers, 2))
    chosen = [(str(random.choice(talkers[one])), str(random.choice(talkers[other]))) for one, other in both]
    return [build(f"{one}+{other}", "3 s", [[one], [other]], faces, voices) for one, other in chosen[: options.pairs]]


def longer(faces: dict[str, FaceTrack], voices: dict[str, np.ndarray], options: argparse.Namespace) -> list[Scene]:
    """The talker with most clips beside each of the others, three clips long; who has fewer clips repeats them."""
    random, talkers = np.random.default_rng(options.seed), by_talker(faces)
    most = max(talkers, key=lambda talker: len(talkers[talker]))
    scenes = []
    for other in [talker for talker in talkers if talker != most][: options.long]:
        mine = [str(name) for name in random.choice(talkers[most], 3, replace=False)]
        theirs = list(itertools.islice(itertools.cycle(talkers[other]), 3))
        scenes.append(build(f"{most}+{other}", "9 s", [mine, theirs], faces, voices))
    return scenes


def build(
    name: str, kind: str, rows: list[list[str]], faces: dict[str, FaceTrack], voices: dict[str, np.ndarray]
) -> Scene:
    tracks = [joined([faces[clip] for clip in clips], f"face{number}") for number, clips in enumerate(rows, start=1)]
    references = np.stack([np.concatenate([voices[clip] for clip in clips]) for clips in rows])
    return Scene(name, kind, tracks, references, references.sum(axis=0))


def joined(parts: list[FaceTrack], name: str) -> FaceTrack:
    def all_of(key: str) -> np.ndarray:
        return np.concatenate([getattr(part, key) for part in parts])

    keys = ("present", "boxes", "mouth_opening", "mouths")
    return replace(parts[0], name=name, **{key: all_of(key) for key in keys})


def judge(scene: Scene, model: unmingle.Model) -> list[dict[str, Any]]:
    """One row per face that was found where a talker is, for both questions."""
    if len(scene.faces) != len(scene.references):
        print(f"{scene.name}: {len(scene.faces)} faces found, {len(scene.references)} talkers; left out")
        return []
    estimates = np.asarray(unmingle.separate(model, scene.mixture, sample_rate=RATE))
    return [*rows_of(scene, "references", scene.references), *rows_of(scene, "separated", estimates)]


def rows_of(scene: Scene, tracks_are: str, tracks: np.ndarray) -> list[dict[str, Any]]:
    names = [f"spk{number}" for number in range(1, len(tracks) + 1)]
    n_ticks = len(scene.faces[0].present)
    heard = match(scene.faces, names, tick_powers([tracks], sample_rate=RATE, n_ticks=n_ticks))
    score = np.array([[si_snr(track, one) for track in tracks] for one in scene.references])  # (faces, tracks)
    base = np.array([si_snr(scene.mixture, one) for one in scene.references])
    (best, margin), clean = matched(score), tracks_are == "references"
    rows = []
    for number, face in enumerate(heard):
        given = None if face.voice is None else names.index(face.voice)
        rows.append(
            {
                "scene": scene.name,
                "kind": f"{scene.kind}, {tracks_are}",
                "face": face.name,
                "right": given is not None and given == best.get(number),
                "silent": given is None,
                "told_apart": margin > TOLD_APART,
                "confidence": face.confidence,
                "si_snri_best": None
                if clean or number not in best
                else float(score[number, best[number]] - base[number]),
                "si_snri_given": None if clean or given is None else float(score[number, given] - base[number]),
            }
        )
    return rows


def matched(score: np.ndarray) -> tuple[dict[int, int], float]:
    """Face -> its track, so that the sum of scores is greatest; and by how much it is greater than the next.

    With fewer tracks than faces some faces have none.
    """
    n_faces, n_tracks = score.shape
    choices = list(itertools.permutations(range(n_faces), n_tracks))
    totals = [sum(score[face, track] for track, face in enumerate(chosen)) for chosen in choices]
    first, second = np.argsort(totals)[::-1][:2]
    return {face: track for track, face in enumerate(choices[first])}, float(totals[first] - totals[second])


def si_snr(estimate: np.ndarray, reference: np.ndarray) -> float:
    return float(
        si_sdr(estimate=torch.tensor(estimate), reference=torch.tensor(reference), zero_mean=True).clamp(max=60)
    )


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    right = [row for row in rows if row["right"]]
    wrong = [row for row in rows if not row["right"] and not row["silent"]]
    apart = [row for row in rows if row["told_apart"]]
    return {
        "scenes": len({row["scene"] for row in rows}),
        "faces": len(rows),
        "right": round(len(right) / max(1, len(rows)), 3),
        "right_where_told_apart": f"{sum(row['right'] for row in apart)} of {len(apart)}",
        "silent": sum(row["silent"] for row in rows),
        "confidence_when_right": mean([row["confidence"] for row in right]),
        "confidence_when_wrong": mean([row["confidence"] for row in wrong]),
        "wrong_above_0.9": f"{sum(map(sure, wrong))} of {sum(map(sure, [*right, *wrong]))}",
        "si_snri_best": mean([row["si_snri_best"] for row in rows]),
        "si_snri_given": mean([row["si_snri_given"] for row in rows]),
    }


def calibrate(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Of the faces whose confidence is in a range: how many have the right voice."""
    table = {}
    for low, high in itertools.pairwise((0.0, 0.5, 0.7, 0.8, 0.9, 1.001)):
        faces = [row for row in rows if row["confidence"] is not None and low <= row["confidence"] < high]
        table[f"{low:.1f} to {min(high, 1.0):.1f}"] = f"{sum(row['right'] for row in faces)} of {len(faces)}"
    return table


def sure(row: dict[str, Any]) -> bool:
    return bool(row["confidence"] > 0.9)


def mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 2) if known else None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=1000, help="at most so many scenes of two talkers")
    parser.add_argument("--long", type=int, default=1000, help="at most so many longer ones")
    parser.add_argument("--model", default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
