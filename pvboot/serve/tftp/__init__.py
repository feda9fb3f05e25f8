"""The TFTP server: one epoll loop, a connected socket a transfer, read-only.

`packets` knows bytes, `options` what is agreed, `session` one transfer, `server` all of them; `structs` declares the
packets for readers and tests.  What must not live here: what is served (`Content` knows), who may boot what.
"""
