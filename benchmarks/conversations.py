"""Simulated conversations, and real meetings: does every voice stay on its track, and is it known how many there are?

    python benchmarks/conversations.py speech/test.jsonl --noise noise/test.jsonl --folder work --plot conversations.png
    python benchmarks/conversations.py speech/test.jsonl --folder work --minutes 10 --run "auto=-n auto" --run "two="
    python benchmarks/conversations.py speech/test.jsonl --folder work --meetings conversation/manifest.jsonl

Conversations of 2 to 4 talkers with turns, overlaps of 10 to 40 %, pauses of up to two minutes, rooms and noise are
simulated into `--folder` (from a fixed seed: the same files every time) and separated there by the command line, in a
process of its own per conversation and way. Results are kept: what was measured once is not measured again.

A way is NAME=OPTIONS of `unmingle separate`, where {talkers} stands for their true number. The way named `overlaps`
leaves the tracks as neighbouring windows agree on them, without asking whose voice is on them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf
from long_file import peak_memory

from unmingle.data.simulate import simulate
from unmingle.evaluation.activity import ActivityError, activity_error, read_rttm, to_activity
from unmingle.evaluation.conversation import FRAME_SECONDS, inner_products, score_conversation
from unmingle.evaluation.estimators import fingerprint_of_files
from unmingle.inference.handle import WEIGHTS, weights_file
from unmingle.simulation.conversation import ConversationSettings
from unmingle.simulation.recipe import SimulationRecipe

WAYS = ["overlaps=", "voices=-n {talkers}", "auto=-n auto"]
BLOCK = 1 << 19
SHARES = ("wrong_share", "wrong_share_alone", "wrong_share_together", "lost_share")


@dataclass
class Case:
    """One recording with what is known about it."""

    set: str
    name: str
    mixture: Path
    rttm: Path
    sources: list[Path] = field(default_factory=list)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        separate_here(sys.argv[2], sys.argv[3:])
        return
    options = read_options()
    ways = dict(way.split("=", 1) for way in options.run or WAYS)
    cases = [case for minutes in options.minutes for case in conversations(minutes, options)]
    cases += meetings(options.meetings) if options.meetings else []
    results = []
    for way, words in ways.items():
        for case in cases:
            print(f"{way}: {case.set} {case.name} ...", file=sys.stderr)
            results.append({"way": way, "set": case.set, **measure(case, way, words, options)})
    print(json.dumps(results, indent=2) if options.json else table(results))
    if options.plot:
        plot(results, options.plot)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", help="manifest of speech, or folder speaker/*.wav")
    parser.add_argument("--folder", type=Path, required=True, help="where conversations and results are kept")
    parser.add_argument("--noise", help="manifest or folder of noise")
    parser.add_argument("--minutes", type=float, nargs="*", default=[10.0, 60.0], help="lengths of the conversations")
    parser.add_argument("--count", type=int, default=4, help="conversations of every length")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", action="append", metavar="NAME=OPTIONS", help=f"ways to separate [{', '.join(WAYS)}]")
    parser.add_argument("--model", help="name or weights file [the default model]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--meetings", type=Path, help="manifest of recordings with RTTM files and no sources")
    parser.add_argument("--keep", action="store_true", help="keep the separated tracks")
    parser.add_argument("--plot", type=Path, help="draw the share of speech on a wrong track over time")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def conversations(minutes: float, options: argparse.Namespace) -> list[Case]:
    """Simulate what is not there yet."""
    folder = options.folder / f"conversations-{minutes:g}m-seed{options.seed}-{options.count}"
    recipe = SimulationRecipe(
        speech=str(options.speech),
        n_mixtures=options.count,
        seed=options.seed,
        level_db=(-3.0, 3.0),
        noise=options.noise,
        snr_db=(10.0, 20.0),
        room_share=0.5,
        conversation=ConversationSettings(seconds=60 * minutes),
    )
    manifest = simulate(recipe, folder)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    return [
        Case(
            f"{minutes:g} min" + (", in a room" if row.get("room") else ""),
            row["id"],
            folder / row["mixture"],
            folder / row["rttm"],
            [folder / source for source in row["sources"]],
        )
        for row in rows
    ]


def meetings(manifest: Path) -> list[Case]:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    folder = manifest.parent if (manifest.parent / rows[0]["path"]).exists() else manifest.parent.parent
    return [Case("meetings", Path(row["path"]).stem, folder / row["path"], folder / row["rttm"]) for row in rows]


def weights_of(model: str | None) -> list[Path]:
    """All that a way may choose among: the bundled weights, and those that were named."""
    return [*sorted(WEIGHTS.glob("*.safetensors")), *([weights_file(model)] if model else [])]


def measure(case: Case, way: str, words: str, options: argparse.Namespace) -> dict:
    """Separate, score, remember."""
    folder = options.folder / "results" / f"{options.model or 'default'}".replace("/", "_") / way / case.set / case.name
    known = folder / "result.json"
    words = words.format(talkers=len(case.sources) or len(read_rttm(case.rttm)))
    asked = {
        "options": words,
        "threads": options.threads,
        "size": case.mixture.stat().st_size,
        "weights": fingerprint_of_files(weights_of(options.model)),
    }
    if known.exists() and (found := json.loads(known.read_text()))["asked"] == asked:
        return found
    tracks = folder / "tracks"
    shutil.rmtree(tracks, ignore_errors=True)
    tracks.mkdir(parents=True)
    command = ["separate", str(case.mixture), "-o", str(tracks), "--threads", str(options.threads), *shlex.split(words)]
    command += ["--model", options.model] if options.model else []
    started = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, "--child", way, *command], stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - started
    report = json.loads(next(tracks.glob("*.separation.json")).read_text())
    found = {
        "asked": asked,
        "seconds": report["seconds"],
        "real_time_factor": seconds / report["seconds"],
        "peak_memory_bytes": json.loads(done.stdout.splitlines()[-1])["peak"],
        **score(case, tracks, report),
    }
    known.write_text(json.dumps(found))
    if not options.keep:
        shutil.rmtree(tracks)
    return found


def score(case: Case, tracks: Path, report: dict) -> dict:
    spoken = read_rttm(case.rttm)
    said: dict[str, list[tuple[float, float]]] = {}
    for turn in report.get("segments", []):
        said.setdefault(turn["track"], []).append((turn["start"], turn["end"]))
    error = activity_error(
        found=to_activity(said, seconds=report["seconds"]), spoken=to_activity(spoken, seconds=report["seconds"])
    )
    names = [track["path"] for track in report["tracks"] if track["name"] != "residual"]
    counted = report.get("n_speakers") or len(names)
    found = {"activity": vars(error), "n_talkers": len(spoken), "n_counted": counted}
    if case.sources:
        files = [case.mixture, *case.sources, *(tracks / name for name in names)]
        products = inner_products(together(files), sample_rate=report["sample_rate"])
        scored = score_conversation(products, n_talkers=len(case.sources))
        per_minute = max(1, round(60 / FRAME_SECONDS))
        minutes = range(0, len(scored.spoken), per_minute)
        found |= {
            **{name: getattr(scored, name) for name in SHARES},
            "si_snr_improvement": [one for one in scored.si_snr_improvement if np.isfinite(one)],
            "wrong": [float(scored.wrong[start : start + per_minute].sum()) for start in minutes],
            "spoken": [float(scored.spoken[start : start + per_minute].sum()) for start in minutes],
        }
    return found


def together(files: list[Path]) -> Iterator[np.ndarray]:
    """(files, time) blocks."""
    readers = [sf.SoundFile(file) for file in files]
    while True:
        blocks = [reader.read(BLOCK, dtype="float32") for reader in readers]
        length = min(len(block) for block in blocks)
        if length == 0:
            return
        yield np.stack([block[:length] for block in blocks])


def separate_here(way: str, words: list[str]) -> None:
    """The measured process."""
    if way == "overlaps":
        from unmingle.inference import identity

        identity._is_straight = lambda *_: True
    from unmingle.cli.app import main as unmingle

    code = unmingle(words)
    if code:
        sys.exit(code)
    print(json.dumps({"peak": peak_memory()}))


def table(results: list[dict]) -> str:
    """Markdown, one line per way and set."""
    lines = [
        "| Way | Set | Recordings | Wrong track (one talks / several) | No track | Talkers counted right | SI-SNRi "
        "| Activity error (missed / false / confused) | Real-time factor | Peak memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict]] = {}
    for one in results:
        name = f"{one['set']}, {one['n_talkers']} talkers" if "wrong_share" in one else one["set"]
        groups.setdefault((one["way"], name), []).append(one)
    for (way, name), these in sorted(groups.items(), key=lambda group: (group[0][1], group[0][0])):
        lines.append(f"| {way} | {name} | {line(these)} |")
    return "\n".join(lines)


def line(these: list[dict]) -> str:
    error = sum((ActivityError(**one["activity"]) for one in these), start=ActivityError(0, 0, 0, 0))
    parts = (f"{100 * part / error.spoken:.1f}" for part in (error.missed, error.false, error.confused))
    right = sum(one["n_talkers"] == one["n_counted"] for one in these)
    cells = [f"{len(these)}", "-", "-", f"{right} of {len(these)}", "-"]
    if "wrong_share" in these[0]:
        gained = [value for one in these for value in one["si_snr_improvement"]]
        wrong, alone, several, lost = (100 * np.nanmean([one[name] for one in these]) for name in SHARES)
        cells[1:3] = f"{wrong:.1f} % ({alone:.1f} / {several:.1f})", f"{lost:.1f} %"
        cells[4] = f"{np.mean(gained):.2f} dB"
    cells.append(f"{100 * error.rate:.1f} % ({' / '.join(parts)})")
    cells.append(
        f"{sum(one['real_time_factor'] * one['seconds'] for one in these) / sum(one['seconds'] for one in these):.2f}"
    )
    cells.append(f"{max(one['peak_memory_bytes'] for one in these) / 1e6:.0f} MB")
    return " | ".join(cells)


def plot(results: list[dict], path: Path) -> None:
    """How the share of speech on a wrong track grows, or does not, with time."""
    from matplotlib.figure import Figure

    scored = [one for one in results if "wrong" in one]
    sets = list(dict.fromkeys(one["set"] for one in scored))
    figure = Figure(figsize=(5 * len(sets), 3.6), layout="constrained")
    axes = figure.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for panel, name in zip(axes, sets, strict=True):
        for way in dict.fromkeys(one["way"] for one in scored):
            these = [one for one in scored if (one["way"], one["set"]) == (way, name)]
            wrong, spoken = (np.sum([one[key] for one in these], axis=0) for key in ("wrong", "spoken"))
            panel.plot(
                np.arange(len(wrong)) + 1,
                100 * np.cumsum(wrong) / np.maximum(np.cumsum(spoken), 1e-9),
                marker=".",
                label=way,
            )
        panel.set(title=f"conversations of {name}", xlabel="minutes so far", ylim=(0, None))
        panel.grid(alpha=0.3)
    axes[0].set_ylabel("speech on a wrong track so far (%)")
    axes[0].legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
