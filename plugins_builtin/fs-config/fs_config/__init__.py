"""Show options of a run, and read and write files of them: ``fs config show``, ``init``, ..."""
