"""Stop before a file is written if the names cannot be those of a plugin."""

import re
import sys

NAMES = {
    "name": ("{{ cookiecutter.name }}", r"[a-z][a-z0-9_]{1,39}"),
    "distribution": ("{{ cookiecutter.distribution }}", r"[a-z][a-z0-9]*(-[a-z0-9]+)*"),
}

for what, (value, pattern) in NAMES.items():
    if re.fullmatch(pattern, value) is None:
        sys.exit(f"'{value}' is not a {what}: it must match {pattern}")
