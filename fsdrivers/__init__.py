"""Bytes -> volumes -> files: block sources, partition tables and read-only file system drivers.

This room knows block sources, partition tables and file systems (a sub-package each, `probe()` chooses).  It must not
know menus, Xen, the network server, or anything of `pvboot`.
"""
