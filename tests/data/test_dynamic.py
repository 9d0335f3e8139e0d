"""Mixtures made while training."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unmingle.data.dynamic import DynamicMixing
from unmingle.data.settings import DataSettings, MixingSettings
from unmingle.errors import ConfigError
from unmingle.simulation.mixing import level_db, ratio_db

RATE = 8000
PLAIN = MixingSettings(noise_share=0.0, speed=(1.0, 1.0), mixed_gender_share=None)


@pytest.fixture
def settings(speech: Path) -> DataSettings:
    return DataSettings(
        sample_rate=RATE,
        segment_seconds=1.0,
        batch_size=4,
        speech=str(speech),
        cache_dir=str(speech.parent / "cache"),
        mixing=PLAIN,
    )


def mixing(settings: DataSettings, **changes: object) -> DynamicMixing:
    return DynamicMixing(replace(settings, mixing=replace(settings.mixing, **changes)))  # type: ignore[arg-type]


def test_a_batch_has_the_shapes_promised(settings: DataSettings) -> None:
    batch = DynamicMixing(settings).batch(0)
    assert batch.mixture.shape == (4, RATE)
    assert batch.sources.shape == (4, 2, RATE)
    assert batch.mixture.dtype == batch.sources.dtype == torch.float32


def test_a_batch_depends_on_its_step_alone(settings: DataSettings) -> None:
    settings = replace(settings, mixing=MixingSettings())
    straight = [DynamicMixing(settings).batch(step) for step in range(3)]
    one = DynamicMixing(settings)
    for step in (2, 0, 1):
        torch.testing.assert_close(one.batch(step), straight[step], rtol=0, atol=0)
    assert not torch.equal(straight[0].mixture, straight[1].mixture)


def test_processes_that_train_together_share_out_the_same_samples(settings: DataSettings) -> None:
    alone = DynamicMixing(replace(settings, batch_size=8)).batch(3).mixture
    shares = [DynamicMixing(settings, rank=rank, world_size=2).batch(3).mixture for rank in range(2)]
    torch.testing.assert_close(torch.cat(shares), alone, rtol=0, atol=0)


def test_sources_add_up_to_a_mixture_without_noise(settings: DataSettings) -> None:
    batch = DynamicMixing(settings).batch(0)
    torch.testing.assert_close(batch.sources.sum(1), batch.mixture, rtol=0, atol=1e-5)


def test_levels_are_drawn_from_their_range(settings: DataSettings) -> None:
    samples = [mixing(settings, level_db=(3.0, 3.0)).mix(number, step=0) for number in range(5)]
    for mixture, sources, _ in samples:
        assert ratio_db(*sources) == pytest.approx(3.0, abs=1e-3)
        assert level_db(mixture) == pytest.approx(0, abs=1e-3)
    quiet, _ = mixing(settings, mixture_rms_db=(-20.0, -20.0)).sample(0, step=0)
    assert level_db(quiet) == pytest.approx(-20, abs=1e-3)


def test_voices_that_overlap_in_part_begin_late_or_end_early(settings: DataSettings) -> None:
    longest = RATE // 2
    partly = mixing(settings, partial_share=1.0, partial_silence=0.5)
    for step in range(4):
        for voices in partly.batch(step).sources.numpy():
            heard = [np.flatnonzero(voice) for voice in voices]
            lead, tail = (sorted(edge) for edge in zip(*((h[0], RATE - 1 - h[-1]) for h in heard), strict=True))
            assert lead[0] < RATE // 10  # the other voice is there from the beginning, but for a pause of its own
            assert lead[1] <= longest + RATE // 10
            assert tail[1] <= longest + RATE // 10
    whole = mixing(settings, partial_share=0.0).batch(0).sources
    assert (partly.batch(0).sources == 0).sum() > (whole == 0).sum()


@pytest.mark.parametrize("babble_share", [0.0, 1.0])
def test_noise_has_the_ratio_asked_for(settings: DataSettings, noise: Path, babble_share: float) -> None:
    noisy = mixing(
        replace(settings, noise=str(noise)), noise_share=1.0, noise_snr_db=(6.0, 6.0), babble_share=babble_share
    )
    for number in range(5):
        mixture, sources = noisy.sample(number, step=0)
        assert ratio_db(sources.sum(0), mixture - sources.sum(0)) == pytest.approx(6.0, abs=0.01)


def test_a_share_of_the_mixtures_gets_noise(settings: DataSettings, noise: Path) -> None:
    some = mixing(replace(settings, noise=str(noise)), noise_share=0.35)
    clean = 0
    for number in range(200):
        mixture, sources = some.sample(number, step=0)
        clean += bool(np.abs(mixture - sources.sum(0)).max() < 1e-4)
    assert 110 <= clean <= 150


def test_babble_is_made_without_recorded_noise(settings: DataSettings) -> None:
    mixture, sources = mixing(settings, noise_share=1.0).sample(0, step=0)
    assert np.abs(mixture - sources.sum(0)).max() > 0.01


def test_babble_is_made_of_other_speakers(settings: DataSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    babbling = mixing(settings, noise_share=1.0)
    heard: list[int] = []
    voice = babbling._voice
    monkeypatch.setattr(babbling, "_voice", lambda rng, speaker: (heard.append(speaker), voice(rng, speaker))[1])
    for number in range(10):
        heard.clear()
        babbling.sample(number, step=0)
        assert len(heard) == 2 + 6
        assert not set(heard[:2]) & set(heard[2:])


def test_means_are_removed(settings: DataSettings) -> None:
    _, sources = DynamicMixing(settings).sample(0, step=0)
    np.testing.assert_allclose(sources.mean(-1), 0, atol=1e-5)


def test_speed_moves_the_pitch_within_its_range(settings: DataSettings) -> None:
    def pitches(**changes: object) -> set[float]:
        moving = mixing(settings, **changes)
        sources = np.concatenate([moving.sample(number, step=0)[1] for number in range(10)])
        return {float(np.argmax(np.abs(np.fft.rfft(source)))) for source in sources}

    own = {300.0, 350.0}  # of the four voices, at segments of one second
    assert pitches() <= own
    moved = pitches(speed=(0.92, 1.08))
    assert len(moved) > 4
    assert 0.91 * 300 < min(moved) < max(moved) < 1.09 * 350


def test_every_voice_is_turned_by_a_phase_of_its_own(settings: DataSettings) -> None:
    plain, turning = mixing(settings), mixing(settings, turn_phase=True)
    angles = []
    for number in range(5):
        mixture, sources = turning.sample(number, step=0)
        np.testing.assert_allclose(mixture, sources.sum(0), atol=1e-5)
        for before, after in zip(plain.sample(number, step=0)[1], sources, strict=True):
            before, after = np.fft.rfft(before)[:-1], np.fft.rfft(after)[:-1]  # the last is real
            turn = np.vdot(before, after) / np.vdot(before, before)
            np.testing.assert_allclose(after, before * turn, atol=2e-3 * np.abs(before).max())
            angles.append(np.angle(turn))
    assert len({round(float(angle), 2) for angle in angles}) == 10


def test_octave_gains_change_the_colour_of_voices_and_not_their_places(settings: DataSettings) -> None:
    plain, coloured = mixing(settings), mixing(settings, octave_db=3.0)
    for number in range(5):
        before, after = plain.mix(number, step=0), coloured.mix(number, step=0)
        assert before.places == after.places
        assert not np.allclose(before.sources, after.sources, atol=1e-3)


def test_utterances_shorter_than_a_segment_are_used(settings: DataSettings) -> None:
    batch = DynamicMixing(replace(settings, segment_seconds=2.5)).batch(0)
    assert batch.mixture.shape == (4, 20_000)
    assert batch.sources.abs().amax(-1).min() > 0


def test_the_share_of_mixed_pairs_is_kept(settings: DataSettings) -> None:
    pairs = mixing(settings, mixed_gender_share=0.3)
    mixed = Counter(pairs.is_mixed_gender(number) for number in range(500))
    assert 0.24 <= mixed[True] / 500 <= 0.36


def test_a_woman_and_a_man_come_in_this_order_and_are_told(settings: DataSettings) -> None:
    pairs = mixing(settings, mixed_gender_share=0.5)
    turned = 0
    for step in range(5):
        batch = pairs.batch(step)
        assert batch.mixed_gender is not None
        for place, mixed in enumerate(batch.mixed_gender.tolist()):
            number = step * 4 + place
            first, second = (speaker_gender(pairs, voice) for voice in pairs.voices_of(number, step=step))
            drawn = torch.from_numpy(pairs.mix(number, step=step).sources)
            assert mixed == (first != second)
            turned += (first, second) == ("M", "F")
            wanted = drawn.flip(0) if (first, second) == ("M", "F") else drawn
            torch.testing.assert_close(batch.sources[place], wanted, rtol=0, atol=0)
    assert turned


def speaker_gender(pairs: DynamicMixing, speaker: str) -> str | None:
    return pairs.pool.genders[list(pairs.pool.speakers).index(speaker)]


def test_the_easy_start_ends_step_by_step(settings: DataSettings) -> None:
    easy = mixing(settings, mixed_gender_share=0.0, easy_mixed_gender_share=1.0, easy_steps=100, noise_share=1.0)

    def share(step: int) -> float:
        return float(np.mean([bool(easy.is_mixed_gender(number, step=step)) for number in range(300)]))

    assert [share(0), share(50), share(100), share(10_000)] == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=0.1)
    for step, noisy in ((0, False), (99, False), (100, True)):
        mixture, sources = easy.sample(0, step=step)
        assert bool(np.abs(mixture - sources.sum(0)).max() > 1e-4) == noisy


def test_three_people_can_talk(settings: DataSettings) -> None:
    settings = replace(settings, n_src=3, mixing=MixingSettings())
    assert DynamicMixing(settings).batch(0).sources.shape == (4, 3, RATE)


def test_unknown_genders_play_no_part(settings: DataSettings, speech: Path) -> None:
    settings = replace(settings, speech=str(speech.parent / "speech"), mixing=MixingSettings())
    assert DynamicMixing(settings).batch(0).mixture.isfinite().all()
    assert DynamicMixing(settings).is_mixed_gender(0) is None
    assert DynamicMixing(settings).batch(0).mixed_gender is None


@pytest.mark.parametrize("targets", ["reverberant", "early"])
def test_rooms_keep_levels_and_say_what_is_wanted(settings: DataSettings, targets: str) -> None:
    pytest.importorskip("pyroomacoustics")
    echoing = mixing(settings, room_share=1.0, n_rooms=1, room_targets=targets, level_db=(2.0, 2.0))
    mixture, sources, _ = echoing.mix(0, step=0)
    left = np.abs(mixture - sources.sum(0)).max()
    if targets == "early":
        assert left > 0.01
    else:
        assert left < 1e-4
        assert ratio_db(*sources) == pytest.approx(2.0, abs=1e-3)


def test_a_voice_that_is_silent_for_a_while_is_no_louder_in_a_room(settings: DataSettings) -> None:
    pytest.importorskip("pyroomacoustics")
    shorter = {"partial_share": 1.0, "partial_silence": 0.85, "level_db": (0.0, 0.0)}
    _, dry, _ = mixing(settings, **shorter).mix(0, step=0)
    _, echoing, _ = mixing(settings, room_share=1.0, n_rooms=1, room_targets="reverberant", **shorter).mix(0, step=0)
    assert abs(ratio_db(*dry)) > 0.5  # one is silent for longer than the other
    assert ratio_db(*echoing) == pytest.approx(ratio_db(*dry), abs=1e-3)


def test_pauses_are_drawn_again(settings: DataSettings, speech: Path) -> None:
    import soundfile

    for path in (speech.parent / "speech").rglob("*.wav"):
        samples, rate = soundfile.read(path)
        samples[: len(samples) // 2] = 0
        soundfile.write(path, np.tile(samples, 4), rate)
    short = DynamicMixing(replace(settings, segment_seconds=0.2))
    batch = short.batch(0)
    assert batch.sources.square().mean(-1).min() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"speech": None}, "needs data.speech"), ({"n_src": 5}, "wants 5 different speakers")],
)
def test_settings_nothing_can_be_mixed_from_are_an_error(
    settings: DataSettings, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DynamicMixing(replace(settings, **changes))  # type: ignore[arg-type]


def test_a_corpus_that_matters_is_heard_more_often(settings: DataSettings) -> None:
    def share(**changes: object) -> float:
        mixed = mixing(settings, **changes)
        drawn = [mixed.voices_of(number) for number in range(300)]
        return float(np.mean(["carl" in speakers for speakers in drawn]))

    assert share(corpus_weights={"carl": 8.0}) > share() + 0.2
    with pytest.raises(ConfigError, match="did you mean 'carl'"):
        share(corpus_weights={"karl": 8.0})
    with pytest.raises(ConfigError, match="must be above 0"):
        share(corpus_weights={"carl": 0.0})


def test_the_speakers_of_a_mixture_may_be_of_one_corpus(settings: DataSettings, speech: Path) -> None:
    rows = [json.loads(line) for line in speech.read_text().splitlines()]
    home = {"anna": "films", "carl": "films", "berta": "books", "dirk": "books"}
    speech.write_text("".join(json.dumps({**row, "corpus": home[row["speaker"]]}) + "\n" for row in rows))
    for gender in (None, 0.0):  # of one corpus even where nobody of the wanted gender is left in it
        mixed = mixing(settings, same_corpus=True, mixed_gender_share=gender)
        pairs = {tuple(sorted(mixed.voices_of(number))) for number in range(40)}
        assert pairs == {("anna", "carl"), ("berta", "dirk")}
