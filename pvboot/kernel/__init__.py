"""Kernel files -> `KernelImage`: containers, decompression, ELF, Xen notes, symbol table.

`pvboot.kernel.loader.parse_kernel` is the way in.  What must not live here: memory layout, MFNs, devices.
"""
