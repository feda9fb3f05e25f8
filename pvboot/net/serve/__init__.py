"""The netboot server: content (directories, the inside of images, made menus) over TFTP and HTTP.

`api` holds the types between its parts: protocol loops know `Content` and `Journal`, nothing of clients or images;
content knows nothing of protocols.  What must not live here: menus' grammar, the planner.
"""
