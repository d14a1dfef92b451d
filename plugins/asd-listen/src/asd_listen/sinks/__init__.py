"""Where events can be told: one module for each sink."""
