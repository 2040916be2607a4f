"""``python -m fs_kernel`` is ``fs``."""

from fs_kernel.cli import main

if __name__ == "__main__":
    main()
