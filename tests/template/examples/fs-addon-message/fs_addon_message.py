"""Send a message to a web address when a run ends or warns of something.

The address takes a POST of ``{"text": "..."}``, as the incoming webhooks of chat services do.
"""

from __future__ import annotations

import json
import urllib.request

import attrs
from fs_kernel import ConfigError, hookimpl, option

SECTION = "addon.message"


@attrs.frozen
class Options:
    """Section ``[addon.message]``."""

    address: str = option("", "Where messages go, https://... Empty for nowhere.")
    timeout: float = option(10.0, "Seconds to wait for an answer.", minimum=1.0, maximum=60.0)

    @address.validator
    def _check(self, attribute, value):
        if value and not value.startswith(("http://", "https://")):
            raise ConfigError(f"{SECTION}.address: '{value}' does not begin with https://")


@attrs.define
class Messenger:
    """Watch a run. An observer that raises is switched off with a warning; the run continues."""

    name: str
    options: Options

    def observers(self):
        return [self] if self.options.address else []

    def on_warning(self, message):
        self.send(f"{self.name}: {message}")

    def on_finish(self, outcome):
        reason = f": {outcome.error}" if outcome.error else ""
        self.send(f"{self.name} ended ({outcome.reason}) at step {outcome.step}{reason}")

    def send(self, text: str) -> None:
        """Post one message."""
        body = json.dumps({"text": text}).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.options.address, body, kind)
        with urllib.request.urlopen(request, timeout=self.options.timeout) as answer:
            answer.read()


@hookimpl
def config_defaults():
    return {SECTION: Options}


@hookimpl
def migrate_options(section, values, version):
    """Until 0.1 the address was called ``url``."""
    if version.startswith("0.1.") and "url" in values:
        values["address"] = values.pop("url")
    return values


@hookimpl
def create_addon(run):
    return Messenger(run.info.model_dir.name, run.config[SECTION])
