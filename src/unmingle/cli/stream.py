"""`unmingle stream`: sound in while it happens, one voice per speaker out."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from unmingle.cli.console import emit, emit_json, example, note, table, warn
from unmingle.errors import UnmingleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from unmingle.audio.framing import Samples
    from unmingle.audio.microphone import Microphone
    from unmingle.audio.pcm import PcmFormat, PcmReader
    from unmingle.inference.handle import Model
    from unmingle.inference.live import LiveReport
    from unmingle.inference.stream import Stream

EXAMPLE = example(
    "unmingle stream mic -m streaming.safetensors -o voices",
    "unmingle stream - -m streaming.safetensors --sample-rate 48000 --format s16le -o voices",
    "unmingle stream meeting.wav -m streaming.safetensors --no-pace -o voices",
)
DEFAULT_RATE = 16_000


class _Sound(NamedTuple):
    """Where sound comes from."""

    sample_rate: int
    blocks: Callable[[int], Iterator[Samples]]  # of a given size
    frames: int | None = None  # as many samples as it has, where that is known
    microphone: Microphone | None = None


def stream(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="`mic`, `-` for raw samples on stdin, or a file to play through.")
    ] = "-",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name of a model that streams, or path of its weights.")
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-o", help="Folder for one WAV per speaker [default: raw samples on stdout]."),
    ] = None,
    format: Annotated[  # noqa: A002
        str, typer.Option("--format", help="Coding of raw samples, in and out: s16le or f32le.")
    ] = "s16le",
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", min=1, help="Hz, of stdin or the microphone [default: 16000].")
    ] = None,
    channels: Annotated[int, typer.Option("--channels", min=1, help="Channels on stdin; they are averaged.")] = 1,
    hops: Annotated[
        int, typer.Option("--hops", min=1, help="Hops of the network at a time: more is cheaper, and later.")
    ] = 1,
    device: Annotated[str | None, typer.Option("--input-device", help="Number or name of the microphone.")] = None,
    pace: Annotated[bool, typer.Option("--pace/--no-pace", help="Play a file at the speed of sound, or not.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace tracks that are already there.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Processor threads to use.")] = 1,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Name the microphones, and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list-devices: print them as JSON.")] = False,
) -> None:
    """Separate live sound: from the microphone, from a pipe, or from a file as if it were live.

    Raw samples on stdout are interleaved, one channel per speaker, at the rate that came in. Latencies go to stderr:
    the algorithmic one, and the measured one where sound comes at its own speed. Ctrl-C ends the sound; what came is
    finished and kept, and so it is when the microphone or the file fails. A second Ctrl-C ends at once.
    """
    if list_devices:
        _list_devices(as_json=as_json)
        return
    from unmingle.inference.live import fitting

    coding = _coding(format)
    if out_dir is None and sys.stdout.isatty():
        raise typer.BadParameter("stdout is a terminal; give a folder, or pipe the samples on", param_hint="-o")
    chosen = choose_model(model).with_threads(threads)
    with ExitStack() as stack:
        sound = _open(source, stack, coding, sample_rate, channels, device)
        live = _start(chosen, sound.sample_rate, hops)
        sink = stack.enter_context(_sink(out_dir, source, live, coding, frames=sound.frames, overwrite=overwrite))
        blocks = sound.blocks(live.block_samples)
        if out_dir is not None and sound.frames is None:
            blocks = fitting(blocks, live.sample_rate)
        played = sound.microphone is None and source != "-" and pace
        report = _run(live, blocks, sink, timed=played or sound.microphone is not None, paced=played)
    _tell(report, sound.microphone)
    if report.failure is not None:
        done = "separated" if out_dir is None else "saved"
        raise UnmingleError(f"{report.failure}; the {report.seconds:.1f} s that came before are {done}")


def choose_model(name: str | None, *, device: str = "cpu") -> Model:
    """The model of that name on a device, or without one the first bundled model that streams.

    Raises:
        UnknownModelError: none has that name; or there is none to take without a name.
        CheckpointError, MissingFileError: see `load_model`.
    """
    from unmingle.errors import UnknownModelError
    from unmingle.inference.handle import list_models, load_model

    if name is not None:
        return load_model(name, device=device)
    for entry in list_models():
        if entry.bundled and entry.causal:
            return load_model(entry.name, device=device)
    raise UnknownModelError(
        "no model that streams is bundled with this installation; give the weights of one with --model PATH "
        "(presets such as tfacm-live can be trained with `unmingle train`)"
    )


def _coding(format: str) -> PcmFormat:  # noqa: A002
    if format not in ("s16le", "f32le"):
        raise typer.BadParameter(f"got {format!r}; wanted s16le or f32le", param_hint="--format")
    return format


def _open(
    source: str, stack: ExitStack, coding: PcmFormat, sample_rate: int | None, channels: int, device: str | None
) -> _Sound:
    from unmingle.audio.io import AudioReader
    from unmingle.audio.microphone import Microphone
    from unmingle.audio.pcm import PcmReader

    rate = sample_rate or DEFAULT_RATE
    if source == "-":
        pipe = PcmReader(sys.stdin.buffer, coding, channels=channels)
        stack.callback(lambda: _warn_of_rest(pipe))
        return _Sound(rate, pipe.blocks)
    if source == "mic":
        which = int(device) if device is not None and device.isdigit() else device
        microphone = stack.enter_context(Microphone(rate, max(1, rate // 250), device=which))
        return _Sound(rate, lambda _size: microphone.blocks(), microphone=microphone)
    if sample_rate is not None:
        raise typer.BadParameter("a file knows its own rate; leave it out", param_hint="--sample-rate")
    reader = stack.enter_context(AudioReader(source))
    return _Sound(reader.sample_rate, reader.blocks, reader.frames)


def _warn_of_rest(pipe: PcmReader) -> None:
    if pipe.left_over:
        plural = "" if pipe.left_over == 1 else "s"
        warn(f"{pipe.left_over} byte{plural} at the end of stdin were no whole sample; look at --format and --channels")


def _start(model: Model, sample_rate: int, hops: int) -> Stream:
    from unmingle.inference.stream import Stream

    live = Stream(model, sample_rate=sample_rate, hops=hops)
    note(
        f"{model.name}: {model.n_src} speakers at {sample_rate} Hz; algorithmic latency "
        f"{1e3 * live.latency_seconds:.1f} ms, in blocks of {live.block_samples} samples"
    )
    return live


def _run(
    live: Stream, blocks: Iterator[Samples], sink: Callable[[Samples], None], *, timed: bool, paced: bool
) -> LiveReport:
    from unmingle.cli.meters import meters
    from unmingle.inference.live import pace, run_live

    with meters(live.n_src, live.sample_rate) as watch:

        def both(out: Samples) -> None:
            sink(out)
            watch(out)

        return run_live(live, pace(blocks, live.sample_rate) if paced else blocks, both, timed=timed)


@contextmanager
def _sink(
    out_dir: Path | None, source: str, live: Stream, coding: PcmFormat, *, frames: int | None, overwrite: bool
) -> Generator[Callable[[Samples], None]]:
    """Where voices go: files that appear when all is done, or stdout."""
    from unmingle.audio.pcm import encode
    from unmingle.inference.trackfiles import TrackFiles, folder

    if out_dir is None:

        def write(out: Samples) -> None:
            sys.stdout.buffer.write(encode(out, coding))
            sys.stdout.buffer.flush()

        yield write
        return
    stem = {"-": "stream", "mic": "microphone"}.get(source, Path(source).stem)
    paths = [out_dir / f"{stem}_spk{number}.wav" for number in range(1, live.n_src + 1)]
    opened = TrackFiles.open(paths, live.sample_rate, subtype="PCM_16", overwrite=overwrite, frames=frames)
    with folder(out_dir), opened as files:
        yield files.write
        said = files.close([1.0] * live.n_src)
        files.commit()
    for sentence in said:
        note(sentence)
    for path in paths:
        emit(str(path))


def _tell(report: LiveReport, microphone: Microphone | None) -> None:
    import numpy as np

    note(
        f"{report.seconds:.1f} s of sound; computing took {report.busy_seconds:.1f} s "
        f"(real-time factor {report.real_time_factor:.2f})"
    )
    if report.lag_seconds:
        half, most = 1e3 * np.percentile(report.lag_seconds, (50, 99))
        note(
            f"measured latency {half:.1f} ms, 99 of 100 blocks below {most:.1f} ms; "
            f"algorithmic {1e3 * report.latency_seconds:.1f} ms"
        )
    if report.replaced:
        warn(f"{report.replaced} samples were NaN, infinite or beyond all levels and count as silence")
    if microphone is not None and (microphone.overruns or microphone.lost):
        warn(
            f"the system dropped sound {microphone.overruns} times, and {microphone.lost} samples came faster than "
            "they were separated; try --hops 2, or a smaller model"
        )


def _list_devices(*, as_json: bool) -> None:
    from unmingle.audio.microphone import input_devices

    header, devices = ("number", "name", "channels", "sample_rate"), input_devices()
    if as_json:
        emit_json([dict(zip(header, device, strict=True)) for device in devices])
        return
    emit(table((*header[:3], "Hz"), devices, right=(0, 2, 3)))
