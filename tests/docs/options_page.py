"""Make docs/options.md from the option classes of the kernel and of every built-in plugin.

``python tests/docs/options_page.py`` writes the page; the tests beside it compare the page with
what this would write. Which test exercises an option stands in option_tests.toml, by hand.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
from fs_config.files import sections_of
from fs_config.options_map import GONE, HERE
from fs_kernel.options import OptionInfo, options_of, to_toml_value
from fs_kernel.options.defaults import KERNEL_SECTIONS
from fs_kernel.plugins import discovery

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "options.md"
TESTS = Path(__file__).with_name("option_tests.toml")
REFERENCE = ROOT / "tests" / "data" / "reference_options.json"

#: The command line of faceswap: its option, what it is here, and what is different.
COMMAND_LINE = [
    ("-A, -B (--input-A, --input-B)", "`fs run -A FACES_A -B FACES_B`", "remembered by the model"),
    ("-m (--model-dir)", "`fs run -m MODEL_DIR`", ""),
    ("-l (--load-weights)", "`fs run --load-weights MODEL_DIR`", "a model folder"),
    ("-t (--trainer)", "`fs run -t MODEL`", "the network; `training.trainer` is how it is trained"),
    ("-u (--summary)", "`fs model summary -t MODEL`", ""),
    ("-f (--freeze-weights)", "`training.freeze_weights`", ""),
    ("-b (--batch-size)", "`training.batch_size`", "or `fs run -b auto`"),
    ("-i (--iterations)", "`training.iterations`", "the total, not this session's share"),
    (
        "-a (--warmup)",
        "`optimizer.warmup_steps`",
        "from the model's first step, not each session's",
    ),
    ("-d (--distributed)", "`training.trainer`", "`ddp`, `fsdp` or `distributed`; distributed.md"),
    (
        "-n (--no-logs)",
        "`training.addons`",
        "TensorBoard is an add-on, off until it is named",
    ),
    (
        "-r (--use-lr-finder)",
        "`training.addons`",
        "name `lr_finder`; its options: `addon.lr_finder`",
    ),
    ("-s (--save-interval)", "`save.interval`", "steps or a time"),
    ("-I (--snapshot-interval)", "`save.snapshot_interval`", "0 unless asked for"),
    ("-x, -y, -z (--timelapse-...)", "`preview.timelapse`", "of the training's own faces"),
    ("-p (--preview)", "", "gone: there is no window; `previews/latest.png` is always the newest"),
    ("-w (--write-image)", "", "gone: the picture is always written; `preview.interval`"),
    ("-M (--warp-to-landmarks)", "`augmentation.warp_to_landmarks`", ""),
    ("-P (--no-flip)", "`augmentation.flip`", "the other way round"),
    ("-c (--no-augment-color)", "`augmentation.color`", "the other way round"),
    ("-W (--no-warp)", "`augmentation.warp`", "the other way round"),
    ("-X (--exclude-gpus)", "`training.device`", "names the one to use"),
    ("-C (--configfile)", "`fs run -c FILE.toml`", "`fs config import` makes one of an ini"),
    ("-L, -F (--loglevel, --logfile)", "", "gone: `logs/events.jsonl` and `logs/errors.log`"),
    ("-G", "", "gone: there is no window"),
]

HEAD = """\
# Every option

The options of the kernel and of the built-in plugins, section by section. `fs config show` prints
the same with help, `fs config init` writes it as a file to edit, `fs config schema` is for editors.

- **when**: *fixed* options are set when a model is created and stay; those *at start* may be
  changed at each start of a session; *live* ones also while one runs (`fs ctl`, phases).
- **faceswap**: the name in faceswap, if it has another; "new" if faceswap has none.
- **test**: what shows that the option does what it says, below `tests/`.

This page is generated: `python tests/docs/options_page.py` writes it, and a test compares.
Options of other plugins are shown by `fs plugins show NAME`.
"""


@attrs.frozen
class Row:
    """One option as the page shows it."""

    section: str
    option: str
    type: str
    default: str
    limits: str
    when: str
    there: str

    @property
    def name(self) -> str:
        return f"{self.section}.{self.option}"


def built_in() -> set[str]:
    """Return the names of the distributions in this repository that hold plugins."""
    files = (ROOT / "plugins_builtin").glob("*/pyproject.toml")
    projects = [tomllib.loads(file.read_text(encoding="utf-8"))["project"] for file in files]
    # A library without entry points is not a plugin.
    return {project["name"] for project in projects if "entry-points" in project}


def sections() -> dict[str, tuple[type, list[discovery.InstalledPlugin]]]:
    """Return the option class of each section, and the plugins that declare it."""
    ours = built_in()
    found: dict[str, tuple[type, list[discovery.InstalledPlugin]]] = {
        name: (cls, []) for name, cls in KERNEL_SECTIONS.items()
    }
    kinds = ("trainers", "feeds", "executors", "models", "addons")
    plugins = (item for kind in kinds for item in discovery.installed(kind))
    for item in (item for item in plugins if item.distribution in ours):
        for section, cls in sections_of(item).items():
            found.setdefault(section, (cls, []))[1].append(item)
    return found


def rows() -> list[Row]:
    """Return every option."""
    made = []
    for section, (cls, _) in sections().items():
        default = cls()
        for option, (annotation, info) in options_of(cls).items():
            made.append(
                Row(
                    section,
                    option,
                    getattr(annotation, "__name__", str(annotation)).replace(" | None", " or none"),
                    json.dumps(to_toml_value(getattr(default, option))),
                    _limits(info),
                    info.when,
                    _there(f"{section}.{option}"),
                )
            )
    return made


def _limits(info: OptionInfo) -> str:
    if info.choices:
        return ", ".join(map(str, info.choices))
    if info.minimum is not None:
        return f"{info.minimum:.12g} .. {info.maximum:.12g}"
    return f"installed {info.plugin}" if info.plugin else ""


def _there(name: str) -> str:
    option = name.rpartition(".")[2]
    others = [there for entries in HERE.values() for there, here in entries.items() if here == name]
    kept = name.startswith("model.") and option in reference().get(name.rpartition(".")[0], {})
    flags = [flag for flag, here, _ in COMMAND_LINE if here == f"`{name}`"]
    named = [f"`{other}`" for other in others if other != option] + [f"`{f}`" for f in flags]
    return ", ".join(named) or ("" if kept or others else "new")


def reference() -> dict[str, dict[str, str]]:
    """Return every option of faceswap's file with its default, by section."""
    options: dict[str, dict[str, str]] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    return options


def tests() -> dict[str, str]:
    """Return the test of each option, below ``tests/``."""
    table = tomllib.loads(TESTS.read_text(encoding="utf-8"))

    def walk(prefix: str, values: dict) -> Iterator[tuple[str, str]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from walk(f"{prefix}{key}.", value)
            else:
                yield f"{prefix}{key}", value

    return dict(walk("", table))


def _givers(found: list[discovery.InstalledPlugin]) -> str:
    if not found:
        return "Given by the kernel."
    words = [f"{discovery.word_for(f.kind)} `{f.name}` ({f.distribution})" for f in found]
    if len(words) > 2:
        return f"Given by every one of the {len(words)} built-in {found[0].kind}."
    return f"Given by {' and '.join(words)}."


def page() -> str:
    """Return the whole page."""
    tested, made = tests(), rows()
    blocks = [HEAD]
    for section, (_, givers) in sections().items():
        own = [row for row in made if row.section == section]
        if not own:
            continue
        blocks.append(f"\n## [{section}]\n\n{_givers(givers)}\n")
        blocks.append("| option | type | default | range or choices | when | faceswap | test |")
        blocks.append("|---|---|---|---|---|---|---|")
        for row in own:
            test = tested.get(row.name, "")
            cells = [f"`{row.name}`", row.type, f"`{row.default}`", row.limits, row.when]
            blocks.append("| " + " | ".join([*cells, row.there, f"`{test}`"]) + " |")
    blocks.append("\n## Options of faceswap that are not here\n")
    blocks.append("Options of its configuration file:\n")
    blocks.append("| option | why |\n|---|---|")
    blocks += [f"| `[{s}] {n}` | {why} |" for s, gone in GONE.items() for n, why in gone.items()]
    blocks.append(
        "\nIts other options are above, under their own names unless the table gives another;"
    )
    blocks.append(
        "those of networks have kept their sections too. `fs config import` reads its file."
    )
    blocks.append("\n## The command line of faceswap\n")
    blocks.append("| faceswap | here | what is different |\n|---|---|---|")
    blocks += [f"| `{flag}` | {here} | {note} |" for flag, here, note in COMMAND_LINE]
    return "\n".join(blocks) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
