"""Files of options: ``fs config init``, ``check``, ``schema`` and ``import``."""
