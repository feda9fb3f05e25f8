"""The state of the server: profiles and clients, menus made of them, their database, the HTTP API and its page.

`server.ServerState` is all of it in one piece, for a worker process; `settings` are the configuration's keys about it.
What must not live here: protocols, how content is stored, the command line.
SQLAlchemy is imported by `database` and by modules built on it, never by `settings`, `profiles` and `render`.
"""
