"""Self-contained HTML pages, charts and pictures of sound."""
