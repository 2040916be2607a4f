"""The examples are packages of their own: their tests run where they are installed."""

collect_ignore_glob = ["examples/*"]
