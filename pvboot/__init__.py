"""pvboot: boot Xen paravirtual guests from their own disk or network."""

__version__ = "0.1.0"
