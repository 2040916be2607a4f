"""Import a model trained with faceswap, and export one that faceswap can open."""
