"""`unmingle models`: what there is, what one of them is, and fetching one from the hub."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmingle.cli.console import emit, emit_json, example, note, table

if TYPE_CHECKING:
    from unmingle.checkpoint import Card
    from unmingle.presets import ModelConfig

EXAMPLE = example("unmingle models list", "unmingle models info tdanet", "unmingle models pull owner/name")

models = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List models, look at one, or fetch one.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@models.command("list", epilog=example("unmingle models list", "unmingle models list --json"))
def list_(
    as_json: AsJson = False,
) -> None:
    """List bundled models and presets.

    Bundled models separate at once. Presets can be built, trained and profiled, and bring no weights.
    """
    from unmingle.inference.handle import list_models

    entries = list_models()
    if as_json:
        emit_json([asdict(entry) for entry in entries])
        return
    header = ("name", "weights", "Hz", "speakers", "causal", "parameters", "licence")
    rows = [
        (
            entry.name,
            "bundled" if entry.bundled else None,
            entry.sample_rate,
            entry.n_src,
            "yes" if entry.causal else "no",
            None if entry.parameters is None else f"{entry.parameters:,}",
            entry.licence,
        )
        for entry in entries
    ]
    emit(table(header, rows, right=(2, 3, 5)))


@models.command(epilog=example("unmingle models info tdanet", "unmingle models info weights.safetensors --json"))
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Bundled model, preset, weights file or hub owner/name.")],
    as_json: AsJson = False,
) -> None:
    """Say what a model is.

    Rate, speakers, size, training data, licence, scores, configuration.
    """
    from unmingle.inference.handle import list_models
    from unmingle.presets import PRESETS

    if name in PRESETS and name not in {entry.name for entry in list_models() if entry.bundled}:
        described = _describe_preset(name, PRESETS[name])
    else:
        described = _describe_weights(name)
    emit_json(described) if as_json else emit(_in_words(described))


@models.command(epilog=example("unmingle models pull owner/name"))
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Hub repository, owner/name, or a bundled model.")],
    as_json: AsJson = False,
) -> None:
    """Fetch weights from the hub into the local cache. This is the only command that uses the network."""
    from unmingle.checkpoint import fetch
    from unmingle.inference.handle import list_models

    bundled = name in {entry.name for entry in list_models() if entry.bundled}
    if bundled:
        note(f"{name} comes with unmingle; there is nothing to fetch.")
    described = _describe_weights(fetch(name) if "/" in name else name)  # a lone name is a bundled one or a mistake
    emit_json(described) if as_json else emit(_in_words(described))


def _describe_weights(name: str | Path) -> dict[str, Any]:
    from unmingle.inference.handle import load_model

    model = load_model(name)
    assert model.card is not None  # only a model made from a network in memory has none
    return {**_describe_card(model.card), "path": str(model.path)}


def _describe_card(card: Card) -> dict[str, Any]:
    return {
        **_describe_config(card.name, card.config),
        "parameters": card.parameters,
        "licence": card.licence or None,
        "training_data": card.training_data or None,
        "recipe": card.recipe or None,
        "source": card.source or None,
        "scores": dict(card.scores),
        "unmingle_version": card.unmingle_version,
        "weights": True,
    }


def _describe_preset(name: str, config: ModelConfig) -> dict[str, Any]:
    import torch

    from unmingle.metrics.cost import count_parameters, frozen_front_end
    from unmingle.models import build_model

    with torch.device("meta"):  # shapes without memory: all that counting needs
        network = build_model(config)
    described = {**_describe_config(name, config), "parameters": count_parameters(network), "weights": False}
    front_end = frozen_front_end(network)
    return described if front_end is None else {**described, "front_end_parameters": count_parameters(front_end)}


def _describe_config(name: str, config: ModelConfig) -> dict[str, Any]:
    from unmingle.presets import config_to_dict

    return {
        "name": name,
        "family": config.family,
        "sample_rate": config.sample_rate,
        "n_src": config.n_src,
        "causal": config.causal,
        "config": dict(config_to_dict(config)),
    }


def _in_words(described: dict[str, Any]) -> str:
    nested = ("config", "scores")
    plain = {key: value for key, value in described.items() if key not in nested and value is not None}
    lines = [f"{key:<17} {_cell(value)}" for key, value in plain.items()]
    for key in nested:
        if described.get(key):
            lines.append(f"{key}:")
            width = max(15, *map(len, described[key]))
            lines.extend(f"  {inner:<{width}} {_cell(value)}" for inner, value in described[key].items())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) and value >= 500_000 else str(value)
