"""Xen's own domain builder as an offline reference: build it, run it, make kernels for it, compare layouts.

See README.md.  What must not live here: expectations about pvboot (those are in the rooms' tests).
"""
