"""Bytes -> volumes -> files: block sources, partition tables and read-only file system drivers.

What lives here: `BlockSource` (where bytes come from), partition tables, one sub-package a file
system, `probe()`.  What must not: menus, Xen, the network server, anything of `pvboot`.
"""
