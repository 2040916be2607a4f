"""Write a model as current faceswap 3 has it: ``<model>.keras`` and ``<model>_state.json``."""
