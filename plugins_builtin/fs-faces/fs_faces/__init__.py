"""Work with aligned face pictures: geometry, face headers, PNG chunks, masks and image files.

The modules depend on NumPy and OpenCV only, so tools that extract, sort or convert faces can use
them without PyTorch and without fs-kernel.
"""
