"""``fs config``: the options of a run."""

from __future__ import annotations

from pathlib import Path

import click

from fs_kernel.cli import PluginGroup

PATH = click.Path(path_type=Path)
MODEL = click.option("-t", "--model", help="Model plugin.")
SET = click.option(
    "--set", "settings", multiple=True, metavar="SECTION.OPTION=VALUE", help="An option."
)
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group(cls=PluginGroup, prefix="config-")
def config() -> None:
    """The options of a run, and files of them."""


@config.command()
@click.option("-m", "--model-dir", type=PATH, help="As this model has them.")
@MODEL
@click.option("-c", "--config", "file", type=PATH, help="Options as TOML.")
@SET
@JSON
def show(
    model_dir: Path | None,
    model: str | None,
    file: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Every option of the chosen plugins: value, range, help, and where the value came from."""
    from fs_kernel import describe
    from fs_kernel.options import assignments
    from fs_kernel.training.resolve import Request, resolve_run

    request = Request(model_dir or Path(), model, config_file=file, values=assignments(settings))
    describe.show_config(resolve_run(request, look=model_dir is not None).config, as_json)
