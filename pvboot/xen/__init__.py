"""The PV interface of Xen's public headers: constants, structures, page-table arithmetic.

`constants` and `paging` are numbers, `structs` declares the structures, `_formats` is compiled from the declarations.
What must not live here: anything that uses them.
"""
