"""``fs config``: the options of a run, and files of them."""

from __future__ import annotations

import json
from pathlib import Path

import click
import tomli_w
from fs_kernel.cli import OpenGroup, say
from fs_kernel.errors import ConfigError

PATH = click.Path(path_type=Path)
MODEL = click.option("-t", "--model", help="Model plugin.")
SET = click.option(
    "--set", "settings", multiple=True, metavar="SECTION.OPTION=VALUE", help="An option."
)
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
OUTPUT = click.option(
    "-o", "--output", type=PATH, metavar="FILE", help="Write here, not to stdout."
)


@click.group(cls=OpenGroup)
def config() -> None:
    """Show the options of a run, and make, check and convert files of them."""


@config.command()
@click.option("-m", "--model-dir", type=PATH, help="As this model has them.")
@MODEL
@click.option("-c", "--config", "file", type=PATH, help="Options as TOML.")
@SET
@click.option("--with-installed", is_flag=True, help="Also of installed plugins not in the run.")
@JSON
def show(
    model_dir: Path | None,
    model: str | None,
    file: Path | None,
    settings: tuple[str, ...],
    with_installed: bool,
    as_json: bool,
) -> None:
    """Show every option of the chosen plugins: value, range, help, and its origin."""
    from fs_kernel.options import assignments
    from fs_kernel.training import Request, resolve_run

    from fs_config.show import lines, sections

    request = Request(model_dir or Path(), model, config_file=file, values=assignments(settings))
    shown = sections(resolve_run(request, look=model_dir is not None).config, with_installed)
    click.echo(json.dumps(shown, indent=1) if as_json else "\n".join(lines(shown)))


@config.command()
@MODEL
@SET
@OUTPUT
def init(model: str | None, settings: tuple[str, ...], output: Path | None) -> None:
    """Write a TOML file with every option of the chosen plugins, explained, for fs run -c."""
    from fs_kernel.options import assignments
    from fs_kernel.training import Request, resolve_run

    from fs_config.files import write_all, write_new

    request = Request(Path(), model, values=assignments(settings))
    write_new(write_all(resolve_run(request, look=False)), output)


@config.command()
@click.argument("file", type=PATH)
@MODEL
@click.option("-m", "--model-dir", type=PATH, help="As options for this model.")
@JSON
def check(file: Path, model: str | None, model_dir: Path | None, as_json: bool) -> int:
    """Say everything that is wrong with a FILE of options; exit code 2 if anything is."""
    from fs_config.files import check_file

    problems, notes = check_file(file, model, model_dir)
    if as_json:
        click.echo(json.dumps({"problems": problems, "notes": notes}, indent=1))
        return ConfigError.exit_code if problems else 0
    for line in notes:
        say(f"note: {line}")
    if problems:
        raise ConfigError(problems)
    click.echo(f"{file} is fine")
    return 0


@config.command()
@click.option("-t", "--model", help="Only of a run of this model plugin.")
def schema(model: str | None) -> None:
    """Print the JSON Schema of a file of options, of everything installed, for editors."""
    from fs_kernel.training import Request, resolve_run

    from fs_config.files import installed_sections
    from fs_config.schema import schema

    if model is None:
        made = schema(installed_sections(), whole=True)
    else:
        chosen = resolve_run(Request(Path(), model), look=False).config
        made = schema({name: [type(values)] for name, values in chosen.items()}, whole=False)
    click.echo(json.dumps(made, indent=1))


@config.command("import")
@click.argument("train_ini", type=PATH)
@OUTPUT
def import_ini(train_ini: Path, output: Path | None) -> None:
    """Bring the options of a faceswap train.ini over, as TOML for fs run -c."""
    from fs_config.files import installed_sections, nested, write_new
    from fs_config.train_ini import read_ini, translate

    options = translate(read_ini(train_ini), installed_sections())
    head = "# Brought over from a train.ini by fs config import\n\n"
    write_new(head + tomli_w.dumps(nested(options.values)), output)
    for line in options.notes:
        say(f"note: {line}")
    taken = sum(len(values) for values in options.values.values())
    say(f"{taken} options brought over, {len(options.notes)} notes")
