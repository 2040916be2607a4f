"""What happens is said once: to the records, the history of losses and those who watch."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from types import SimpleNamespace

import pytest
from fs_kernel import hookimpl
from fs_kernel.plugins.loading import speaking
from fs_kernel.storage import read_history
from fs_kernel.testing import PlainTrainer
from fs_kernel.training.events import METHODS, EventBus
from fs_kernel.training.messages import captured_messages
from fs_kernel.types import Message, Metrics, Observer
from runs import Watching, train


class Listener:
    """Writes down every event that it hears."""

    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda argument: self.heard.append((name, argument))

    def said(self, kind="warning"):
        return [argument for name, argument in self.heard if name == f"on_{kind}"]


@pytest.fixture
def bus():
    made = EventBus(lambda: 7)
    made.listener = Listener()
    yield made
    made.close()


def started(bus, folder):
    bus.open(SimpleNamespace(model_dir=folder, session=1), {})
    bus.watch("listening", bus.listener)
    bus.emit("started", "the facts")
    return bus


def lines(folder):
    return [json.loads(line) for line in (folder / "logs/events.jsonl").read_text().splitlines()]


def test_every_event_has_a_method_of_observers():
    methods = {name for name in vars(Observer) if name.startswith("on_")}
    assert set(METHODS.values()) - {""} == methods


def test_one_event_reaches_records_history_and_observers(bus, tmp_path):
    started(bus, tmp_path)
    metrics = Metrics(9, {"a": 1.0, "b": 3.0}, {}, None, 10.0, 0.1)
    bus.emit_record("metrics", metrics)
    bus.close()
    assert bus.listener.heard == [("on_start", "the facts"), ("on_metrics", metrics)]
    first, second = lines(tmp_path)
    assert (first["event"], first["step"]) == ("started", 7)
    assert (second["event"], second["step"], second["losses"]) == ("metrics", 9, metrics.losses)
    steps, losses = read_history(tmp_path)["b"]
    assert (steps.tolist(), losses.tolist()) == ([9.0], [3.0])


def test_the_first_batch_is_shown_and_not_recorded(bus, tmp_path):
    started(bus, tmp_path)
    bus.emit("first_batch", "the batch")
    bus.close()
    assert bus.listener.heard[-1] == ("on_first_batch", "the batch")
    assert [e["event"] for e in lines(tmp_path)] == ["started"]


def test_what_is_said_before_the_start_is_heard_after_it_and_in_order(bus, tmp_path):
    bus.warn("early")
    bus.say(Message("note", "from a library", "numpy"))
    started(bus, tmp_path)
    bus.warn("late")
    bus.close()
    heard = [name for name, _ in bus.listener.heard]
    assert heard == ["on_start", "on_warning", "on_note", "on_warning"]
    assert bus.listener.said() == ["early", "late"]
    assert bus.listener.said("note") == ["numpy: from a library"]
    assert [e.get("message") for e in lines(tmp_path)] == [None, "early", "from a library", "late"]


def test_a_library_that_repeats_itself_is_heard_once_and_a_plugin_each_time(bus, tmp_path):
    started(bus, tmp_path)
    for _ in range(3):
        bus.say(Message("warning", "deprecated", "numpy"))
        bus.warn("again")
    bus.say(Message("warning", "deprecated", "torch"))
    bus.close()
    said = bus.listener.said()
    assert [line for line in said if line != "again"] == ["numpy: deprecated", "torch: deprecated"]
    assert said.count("again") == 3
    assert [e["source"] for e in lines(tmp_path) if "source" in e] == ["numpy", "torch"]


def test_another_process_keeps_what_it_has_to_say_for_process_0(bus, tmp_path):
    bus.relays, bus.context = True, {"rank": 1}
    bus.warn("early")
    started(bus, tmp_path)
    bus.warn("late")
    bus.close()
    assert bus.listener.said() == []
    assert [message.text for message in bus.take_relayed()] == ["early", "late"]
    assert bus.take_relayed() == ()
    assert lines(tmp_path)[0]["rank"] == 1


def test_process_0_has_nothing_to_pass_on(bus):
    bus.warn("early")
    assert bus.take_relayed() == ()


def test_what_another_process_said_names_it_and_is_said_once(bus, tmp_path):
    started(bus, tmp_path)
    for _ in range(2):
        bus.say(Message("warning", "slow disk", rank=2))
    bus.close()
    assert bus.listener.said() == ["process 2: slow disk"]
    assert lines(tmp_path)[-1]["rank"] == 2


# --- warnings and logging ---


def captured(say):
    found = []
    with captured_messages(found.append):
        say()
    return [(message.kind, message.text, message.source) for message in found]


def test_a_warning_names_the_module_that_warns():
    assert captured(lambda: warnings.warn("two\nlines", stacklevel=1)) == [
        ("warning", "two lines", "test_event_bus")
    ]


def test_a_record_of_logging_names_its_logger_and_only_warnings_count():
    def say():
        logging.getLogger("some.library").warning("odd %s", "thing")
        logging.getLogger("some.library").info("nothing")

    assert captured(say) == [("warning", "odd thing", "some.library")]
    before = list(logging.getLogger().handlers)
    captured(say)
    assert logging.getLogger().handlers == before


def test_a_plugin_at_work_speaks_for_what_it_calls():
    token = speaking.set("trainer 'plain'")
    try:
        assert captured(lambda: warnings.warn("hot", stacklevel=1))[0][2] == "trainer 'plain'"
        assert captured(lambda: logging.getLogger("x").error("hot"))[0][2] == "trainer 'plain'"
    finally:
        speaking.reset(token)


class Talking(PlainTrainer):
    """Warns when it is connected, created, in step 2, and in a thread of its own."""

    @hookimpl
    def connect(self):
        warnings.warn("I start", stacklevel=1)

    @hookimpl
    def create_trainer(self, run):
        logging.getLogger("talking").warning("I am created")
        steps = super().create_trainer(run)
        train_step = steps.train_step

        def talk(batch):
            if batch.step == 2:
                warnings.warn("I train", stacklevel=1)
                thread = threading.Thread(target=warnings.warn, args=("I work beside",))
                thread.start()
                thread.join()
            return train_step(batch)

        steps.train_step = talk
        return steps


def test_what_a_plugin_says_at_any_time_is_recorded_and_heard_once(tmp_path, events):
    listener = Listener()
    train(tmp_path, 4, trainer=Talking(), addons=[Watching(listener)])
    recorded = {e["message"]: (e["source"], e["step"]) for e in events(tmp_path, "warning")}
    assert set(recorded) == {"I start", "I am created", "I train", "I work beside"}
    who = "trainer 'plain'"
    assert recorded["I start"] == recorded["I am created"] == (who, 0)
    assert recorded["I train"] == (who, 1)
    assert recorded["I work beside"][0] == "threading"
    assert sorted(listener.said()) == sorted(f"{w}: {m}" for m, (w, _) in recorded.items())
    assert listener.heard[-1][0] == "on_finish"
    assert listener.heard[-1][1].reason == "target"
