"""HTTP for guests and for the administrator: aiohttp's server behind the limits of this one.

`server` accepts connections and watches their time, `connection` is aiohttp's protocol with deadlines, `files` answers
GET and HEAD of files and menus with `conditional` and `listing`, `send` brings extents into the socket, `admin` makes
the application of the administrator's listener.  What must not live here: where content comes from, and what the
administrator's API does.
"""
