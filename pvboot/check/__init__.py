"""The checker: rules over menus, file systems and kernels, and reports of what they found, before the guest finds out.

`model` has the plain data, `api` the registry of rules, `engine.check_source` is the entry.  `sources` finds the menus,
`subject` is what a rule looks at, `rules/` are the rules (one row a module in `rules/__init__.py`), `pages/<id>.md`
explains each.
What must not live here: terminals, booting, anything that writes to an image.
"""
