"""On a fresh machine, from wheels: a plugin in four commands, and eight by outsiders."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import fs_kernel
import pytest
from machines import ROOT, run

EXAMPLES = sorted(p.parent for p in Path(__file__).parent.glob("examples/*/pyproject.toml"))
NEEDED = [
    "fs-kernel",
    "fs-graph",
    "fs-nn",
    "fs-faces",
    "fs-trainer-standard",
    "fs-feed-faces",
    "fs-executor-torch",
    "fs-addon-console",
    "fs-addon-preview",
    "fs-new",
    "fs-swap",
    "fs-doctor",
]
#: Runs several commands in one process, which imports torch and Keras once.
TYPE_ALL = """
import json, sys
from fs_kernel.cli import run_cli
for command in json.loads(sys.argv[1]):
    if code := run_cli(command):
        sys.exit(f"fs {' '.join(command)} ended with {code}")
"""


@pytest.fixture(scope="module")
def author(new_machine):
    """A machine with what a plugin's author needs, and nothing of ours from the working tree."""
    return new_machine(NEEDED)


@pytest.fixture
def desk(people, tmp_path):
    """A folder to work in, with faces of two people."""
    for name, side in (("A", "a"), ("B", "b")):
        shutil.copytree(people / name, tmp_path / "faces" / side)
    return tmp_path


def commands_of(page):
    """The four commands, as a page shows them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = [block.strip().splitlines() for block in blocks if block.startswith("fs new model")]
    return [[re.sub(r"\s+#.*", "", line) for line in lines] for lines in found]


def install(machine, *packages, cwd=None):
    """What ``pip install`` does, without the network."""
    pip = (sys.executable, "-m", "pip", "--python", machine.python, "install", "-q")
    run(*pip, "--no-index", "--no-build-isolation", *packages, cwd=cwd)


def type_in(machine, line, cwd):
    """One command as a user types it."""
    program, *arguments = shlex.split(line)
    if program == "pip":
        assert arguments.pop(0) == "install"
        install(machine, *arguments, cwd=cwd)
    elif program == "pytest":
        run(machine.python, "-m", program, "-q", *arguments, cwd=cwd, env=machine.environment)
    else:
        run(machine.program, *arguments, cwd=cwd, env=machine.environment)


def test_the_pages_show_the_same_four_commands():
    shown = [lines for page in ("README.md", "docs/plugin-guide.md") for lines in commands_of(page)]
    assert shown
    assert all(lines == shown[0] for lines in shown)
    assert [line.split()[0] for line in shown[0]] == ["fs", "pip", "pytest", "fs"]


def test_a_network_of_ones_own_in_four_commands(author, desk):
    (lines, *_) = commands_of("docs/plugin-guide.md")
    for line in lines[:-1]:
        type_in(author, line, desk)
    type_in(author, f"{lines[-1]} -i 6 -b 4", desk)
    model = next(path.parent for path in desk.glob("models/*/checkpoint.json"))
    assert (model / "previews" / "latest.png").stat().st_size > 10_000
    state = json.loads(next(model.glob("checkpoints/*/state.json")).read_text())
    facts = state["plugins"]["models"]
    assert (facts["distribution"], facts["version"]) == ("fs-model-my-model", "0.1.0")
    assert facts["libraries"]["fs-kernel"] == fs_kernel.__version__


def test_the_other_kinds_are_rendered_and_pass_their_tests(author, desk):
    kinds = ["trainer", "objective", "feed", "executor", "addon", "loss", "optimizer"]
    folders = []
    for kind in kinds:
        made = author.fs("new", kind, f"our_{kind}", "--json", cwd=desk)
        assert made.returncode == 0, made.stderr
        folders.append(desk / json.loads(made.stdout)["folder"])
    install(author, *(part for folder in folders for part in ("-e", f"{folder}[test]")))
    author.test(*folders)
    listed = json.loads(author.fs("plugins", "list", "--json").stdout)
    ours = {row["kind"]: row for row in listed if row["name"].startswith("our_")}
    assert sorted(ours) == sorted(["add-on" if kind == "addon" else kind for kind in kinds])
    assert all((row["editable"], row["status"]) == (True, "ok") for row in ours.values())


# --- eight outsiders ---


class Mailbox(BaseHTTPRequestHandler):
    """Keeps what is sent to it."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body)["text"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def mailbox():
    server = HTTPServer(("127.0.0.1", 0), Mailbox)
    server.received = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def files_of(machine):
    """Every installed file, but for what Python compiles on the way."""
    root = machine.python.parents[1] / "lib"
    return {p.relative_to(root) for p in root.rglob("*") if "__pycache__" not in p.parts}


def test_nine_plugins_by_outsiders_come_work_and_go(author, desk, mailbox, tmp_path):
    assert len(EXAMPLES) == 9
    before = files_of(author)
    names = [tomllib.loads((p / "pyproject.toml").read_text())["project"]["name"] for p in EXAMPLES]
    wheel = ("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels")
    run(sys.executable, "-m", "pip", *wheel, *EXAMPLES)
    install(author, *sorted((tmp_path / "wheels").glob("*.whl")))

    faces = ["-A", "faces/a", "-B", "faces/b", "-b", "2", "-i", "2"]
    message = f"addon.message.address=http://127.0.0.1:{mailbox.server_port}"
    watched = ["--set", "training.addons=console,message", "--set", message]
    measured = ["--set", "training.addons=console,heldout"]
    measured += ["--set", "addon.heldout.faces=faces/a", "--set", "addon.heldout.interval=1"]
    losses = ["--set", "loss.loss_function=edges", "--set", "loss.loss_function_2=landmarks"]
    small = ["--set", "model.unet.width=4"]
    critic = ["--set", "training.objectives=critic", "--set", "optimizer.optimizer=cautious"]
    commands = [
        ["run", "-t", "unet", *faces, "-m", "unet", *small, *losses, *watched],
        ["run", "-t", "torchnet", *faces, "-m", "torchnet", *measured],
        ["swap", "torchnet", "faces/a", "swapped"],
        ["run", "-t", "unet", "--trainer", "duel", *faces, "-m", "duel", *small],
        ["run", "-m", "duel", "-i", "3"],
        ["run", "-t", "unet", *faces, "-m", "critic", *small, *critic],
        ["run", "-m", "critic", "-i", "3"],
    ]
    typed = (author.python, "-c", TYPE_ALL, json.dumps(commands))
    run(*typed, cwd=desk, env=author.environment)
    *warned, last = mailbox.received
    assert last == "unet ended (target) at step 2"
    assert any("has only 27 faces" in message for message in warned)
    assert len(list((desk / "swapped").iterdir())) == len(list((desk / "faces/a").iterdir()))
    events = (desk / "duel/logs/events.jsonl").read_text().splitlines()
    parts = [json.loads(e)["parts"]["a"] for e in events if json.loads(e)["event"] == "metrics"]
    assert len(parts) == 3
    (size,) = {name.partition("/")[0] for name in parts[0]}
    assert all(set(p) == {f"{size}/mae", f"{size}/critic"} for p in parts)
    events = (desk / "torchnet/logs/events.jsonl").read_text().splitlines()
    assert any("psnr_heldout" in json.loads(e).get("values", {}) for e in events)
    events = (desk / "critic/logs/events.jsonl").read_text().splitlines()
    parts = [json.loads(e)["parts"]["b"] for e in events if json.loads(e)["event"] == "metrics"]
    assert all("objective/critic" in p for p in parts)
    for folder in EXAMPLES:
        shutil.copytree(folder / "tests", desk / "tests" / folder.name)
    author.test(desk / "tests")

    for name in names:
        author.uninstall(name)
    assert files_of(author) == before, "uninstalled without a trace"
    listed = json.loads(author.fs("plugins", "list", "--json").stdout)
    assert not {row["distribution"] for row in listed} & set(names)
    gone = author.fs("run", "-m", desk / "torchnet", "-i", "3")
    assert gone.returncode == 4
    assert "there is no model 'torchnet'" in gone.stderr


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda p: p.name)
def test_an_example_is_short(folder):
    (module,) = folder.glob("*.py")
    assert len(module.read_text().splitlines()) < 80
