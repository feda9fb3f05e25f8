"""Kernel files -> `KernelImage`: containers, decompression, ELF, Xen notes, symbol table.

`pvboot.kernel.loader.parse_kernel` is the way in, `pvboot.kernel.report.parms_json` shows what a kernel says.
`containers` unpacks, `binary` and `elf` read the two formats, `notes` the kernel's own statements.
Every byte here comes from a guest: sizes are checked before use, and the only error is KernelError.
What must not live here: memory layout, MFNs, devices.
"""
