"""Finding out before the guest does: rules over menus, file systems and kernels, and reports of what they found.

`api` has the types and the registry.  What must not live here: terminals, booting, anything that writes to an image.
"""
