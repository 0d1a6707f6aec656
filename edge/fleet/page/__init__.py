"""The `edge fleet` page: a static page, a read-only JSON API, exports and the update repository over HTTP."""
