"""Pack the plugin template: from the top of the repository, or from an unpacked sdist."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TemplateHook(BuildHookInterface):
    """Adds the template's folder to what is built. An editable install reads it where it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the template's folder and its place in the wheel or sdist to ``build_data``."""
        packed = Path(self.root) / "plugin_template"
        source = packed if packed.is_dir() else Path(self.root).parents[1] / "plugin_template"
        if self.target_name == "wheel":
            build_data["force_include"][str(source)] = "fs_new/plugin_template"
        elif source != packed:
            build_data["force_include"][str(source)] = "plugin_template"
