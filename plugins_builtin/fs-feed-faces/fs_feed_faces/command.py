"""Provide ``fs faces``: check folders, manage the cache, draw synthetic faces, score swaps."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from fs_kernel.errors import FacesError, PluginError, UsageError

if TYPE_CHECKING:
    from fs_feed_faces.cache import Cache
    from fs_feed_faces.folder_report import FolderReport
    from fs_feed_faces.options import FaceOptions

_FOLDER = click.Path(path_type=Path)
_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=_HELP)
def faces() -> None:
    """Check folders of faces, manage their cache, draw synthetic people, score swaps."""


@faces.command(context_settings=_HELP)
@click.argument("directory", type=_FOLDER)
@click.option("--mask-type", default="extended", show_default=True, help="Mask to look for.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def check(directory: Path, mask_type: str, as_json: bool) -> None:
    """Report problems of DIRECTORY file by file, and whether it is fit to train on."""
    from fs_feed_faces.folder_report import check_folder
    from fs_feed_faces.source import FEWEST

    report = check_folder(directory, _face_options(mask_type).mask_type)
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else _text(report))
    if not report.trainable:
        raise FacesError(
            f"{directory} has {report.usable} usable faces, at least {FEWEST} are needed"
        )


@faces.command(context_settings=_HELP)
@click.argument("directory", type=_FOLDER)
@click.option("--count", default=300, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--size", default=256, show_default=True, type=click.IntRange(64, 1024))
@click.option("--seed", default=0, show_default=True, type=int)
def demo(directory: Path, count: int, size: int, seed: int) -> None:
    """Draw two synthetic people into DIRECTORY/A and DIRECTORY/B.

    DIRECTORY/B_true holds, for every face of A, the true picture of B in the same pose,
    DIRECTORY/A_true the same for every face of B.
    """
    try:
        from fs_synthetic import draw_people
    except ModuleNotFoundError as error:
        if error.name != "fs_synthetic":
            raise
        raise PluginError(
            "synthetic people need the package fs-synthetic; install it with: "
            "pip install fs-synthetic"
        ) from None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with click.progressbar(length=4 * count, label="Drawing faces", file=sys.stderr) as bar:
            processes = min(os.cpu_count() or 1, 1 + count // 12)
            draw_people(
                directory,
                count,
                size,
                seed,
                lambda done, _: bar.update(done - bar.pos),
                processes,
            )
    except OSError as error:
        raise UsageError(f"cannot write to {directory}: {error.strerror}") from None
    for name in ("A", "B", "B_true", "A_true"):
        click.echo(directory / name)


@faces.command(context_settings=_HELP)
@click.argument("swapped", type=_FOLDER)
@click.argument("truth", type=_FOLDER)
@click.option("--mask-type", default="extended", show_default=True, help="Mask of the face area.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def compare(swapped: Path, truth: Path, mask_type: str, as_json: bool) -> None:
    """Score the pictures of SWAPPED against those of the same name in TRUTH.

    Prints the mean peak signal-to-noise ratio in dB (higher is nearer) over the face mask's area
    and over the "face" crop at full coverage.
    """
    from fs_feed_faces.scoring import compare as score_folders

    score = score_folders(swapped, truth, _face_options(mask_type))
    if as_json:
        facts = {"faces": score.faces, "face_psnr": score.face_psnr, "view_psnr": score.view_psnr}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(
            f"{score.faces} faces: {score.face_psnr:.2f} dB over the face, "
            f"{score.view_psnr:.2f} dB over the network's view"
        )


@faces.group(context_settings=_HELP)
def cache() -> None:
    """Manage the cut-out faces that are cached on disk for the next run."""


_CACHE = click.option(
    "--dir", "directory", type=_FOLDER, help="The cache, if feed.faces.cache_dir names another."
)


@cache.command("ls", context_settings=_HELP)
@_CACHE
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def list_cache(directory: Path | None, as_json: bool) -> None:
    """List what is cached, the least recently used first."""
    from fs_feed_faces.cache_report import to_dict, to_text

    report = to_dict(_cache(directory))
    click.echo(json.dumps(report, indent=2) if as_json else to_text(report))


@cache.command("gc", context_settings=_HELP)
@_CACHE
@click.option("--max-size", help="Remove the least recently used beyond this: '5GB'.")
@click.option("--all", "everything", is_flag=True, help="Remove all of it.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def collect_cache(
    directory: Path | None, max_size: str | None, everything: bool, as_json: bool
) -> None:
    """Remove leftovers of interrupted runs, and what is beyond the cache's size."""
    from fs_kernel.options import Size

    try:
        most = 0 if everything else None if max_size is None else Size.parse(max_size).bytes
    except ValueError as error:
        raise UsageError(f"--max-size: {error}") from None
    removed, size = _cache(directory).collect(most)
    if as_json:
        click.echo(json.dumps({"removed": removed, "bytes": size}, indent=2))
    else:
        from fs_kernel.storage import format_bytes

        click.echo(f"removed {removed}, {format_bytes(size)}")


def _cache(directory: Path | None) -> Cache:
    from fs_feed_faces.cache import Cache, default_folder
    from fs_feed_faces.options import CacheOptions

    folder = directory or default_folder()
    if folder is None:
        raise UsageError("the user has no home folder for a cache; pass --dir FOLDER")
    return Cache(folder, CacheOptions().cache_size.bytes)


def _face_options(mask_type: str) -> FaceOptions:
    from fs_feed_faces.options import MASK_TYPES, FaceOptions

    if mask_type not in MASK_TYPES:
        raise UsageError(f"there is no mask '{mask_type}'; masks: {', '.join(MASK_TYPES)}")
    return FaceOptions(mask_type=mask_type)


def _text(report: FolderReport) -> str:
    sizes = ", ".join(f"{size} ({count})" for size, count in report.sizes.items())
    masks = ", ".join(f"{name} ({count})" for name, count in report.masks.items())
    return "\n".join(
        [
            *(f"{name}: {problem}" for name, problem in report.problems),
            f"usable faces:   {report.usable}",
            f"without header: {report.plain}",
            f"picture sizes:  {sizes or 'none'}",
            f"masks:          {masks or 'none'}",
            f"yaw:            {_degrees(report.yaw)}",
            f"pitch:          {_degrees(report.pitch)}",
            f"fit to train:   {'yes' if report.trainable else 'no'}",
        ]
    )


def _degrees(spread: tuple[float, float, float] | None) -> str:
    if spread is None:
        return "not known"
    low, median, high = spread
    return f"{low:.0f} .. {high:.0f} degrees (median {median:.0f})"
