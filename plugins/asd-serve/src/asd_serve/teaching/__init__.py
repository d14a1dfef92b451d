"""Part of the interface over HTTP; its paths are in `routes`."""
