"""Networks as the kernel sees them: built, named weight by weight, written, read and cut.

Each name is imported when it is first asked for; importing this package imports neither torch nor
Keras.
"""

from fs_kernel import backend
from fs_kernel._lazy import lazy_exports

# The modules of this package import Keras, which reads its backend when it is first imported.
backend.select_torch_backend()
__getattr__ = lazy_exports(__name__)
