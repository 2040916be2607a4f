"""Show model folders and networks: ``fs model info``, ``checkpoints``, ... and ``fs models``."""
