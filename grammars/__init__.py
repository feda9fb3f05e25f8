"""Text -> syntax tree with line:column spans; one module a menu dialect.

Parsing never executes and knows no files, devices or Xen.  Meaning is given by `pvboot.menu` and
`pvboot.shell`.
"""
