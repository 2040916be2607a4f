"""``fs plugins list`` and ``show``: what is installed."""

from __future__ import annotations

import json


def one_line(err):
    assert err.startswith("fs: ")
    assert err.count("\n") == 1
    return err


def test_plugins_list_as_json(fs, site):
    site.install("fs-model-aaa", {"models": {"aaa": "m"}}, version="1.5")
    code, out, _ = fs("plugins", "list", "--json")
    assert code == 0
    (row,) = [row for row in json.loads(out) if row["name"] == "aaa"]
    assert {k: row[k] for k in ("kind", "distribution", "version", "api", "status")} == {
        "kind": "model",
        "distribution": "fs-model-aaa",
        "version": "1.5",
        "api": 1,
        "status": "ok",
    }
    assert [r["name"] for r in json.loads(fs("models", "--json")[1])] == [
        r["name"] for r in json.loads(out) if r["kind"] == "model"
    ]


def test_nothing_installed_says_what_to_do(fs, monkeypatch):
    from fs_kernel.plugins import discovery

    monkeypatch.setattr(discovery, "_scan", lambda: ())
    code, _, err = fs("plugins", "list")
    assert code == 4
    assert "pip install fs-doctor" in one_line(err)
    code, _, err = fs("run", "-m", "nowhere")
    assert code == 4
    assert "pip install fs-model-original" in one_line(err)


def test_plugins_show_of_what_is_not_there(fs):
    code, _, err = fs("plugins", "show", "no-such-plugin")
    assert code == 4
    assert "no plugin is called 'no-such-plugin'" in one_line(err)
