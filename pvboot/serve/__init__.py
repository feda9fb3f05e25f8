"""The netboot server: content (directories, the inside of images, made menus) over TFTP and HTTP.

`api` holds the types between its parts: protocol loops (`tftp`, `http`) know `Content` and `Journal`, nothing of
clients or images; content (`content`, `images`, `stores`) knows nothing of protocols; `state` knows who boots what.
`daemon` supervises, `worker` runs one loop, `assembly` puts a worker's parts together.  Only `reader` looks into
images, in a process without rights.  What must not live here: menus' grammar, the planner.
"""
