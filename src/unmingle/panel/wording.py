"""What is to be said about faces and their voices, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from unmingle.panel.report import HeardFace

_SURE = 0.8


def about_faces(faces: Sequence[HeardFace], *, n_voices: int, nobodys: Sequence[str]) -> list[str]:
    """Doubts about a separation by ear whose voices were given to faces.

    Args:
        faces: with the voices that they got.
        n_voices: how many voices were separated.
        nobodys: tracks of those that no face got.
    """
    sentences = [sentence for face in faces if (sentence := _about(face, n_voices)) is not None]
    for voice in dict.fromkeys(face.voice for face in faces if face.voice is not None):
        names = [face.name for face in faces if face.voice == voice]
        if len(names) > 1:
            sentences.append(
                f"{_listed(names)} are never seen together and share one voice: taken for one person in several shots"
            )
    if nobodys:
        sentences.append(
            f"no face goes with {_listed(nobodys)}: somebody who is not seen, or what was left of the others"
        )
    return sentences


def _about(face: HeardFace, n_voices: int) -> str | None:
    if face.voice is None and face.talks is False:
        return f"{face.name} never moves its mouth as people do who talk; its track is silent"
    if face.voice is None:
        return (
            f"{face.name} got none of the {n_voices} voices that the model separates, because others go with them "
            "better; its track is silent"
        )
    if face.talks is None:
        return f"the mouth of {face.name} is hardly seen; that its voice is its own is little more than a guess"
    if face.confidence is not None and face.confidence < _SURE:
        return (
            f"it is not sure that {face.name} has its own voice ({face.confidence:.2f}); listen before you rely on it"
        )
    return None


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
