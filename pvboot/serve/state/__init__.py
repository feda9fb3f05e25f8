"""Who boots what: profiles and clients, the menus made of them, the database behind them, the HTTP API and its page.

`server.build_state` gives a worker process of the server all of it in one piece; `settings.load` checks a configuration
without a database.  What must not live here: protocols, how content is stored, the reading of menus.
SQLAlchemy is imported by `database` and what builds on it, never by `settings`, `profiles` and `render`.
"""
