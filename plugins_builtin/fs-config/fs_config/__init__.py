"""The options of a run and files of them: ``fs config show``, ``init``, ``check``, ..."""
