"""A page to watch machines, and an interface over HTTP."""
