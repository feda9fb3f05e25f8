"""Kernel files -> `KernelImage`: containers, decompression, ELF, Xen notes, symbol table.

`pvboot.kernel.loader.parse_kernel` is the way in, `pvboot.kernel.report.parms_json` shows a kernel's statements.
`containers` unpacks, `binary` and `elf` read the two formats, `notes` the kernel's own statements.
Every byte here comes from a guest: sizes are checked before use, and the only error is KernelError.
Memory layout, MFNs and devices are other rooms' matter.
"""
