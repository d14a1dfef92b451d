"""The page: a handful of ES modules without a build step, served by `files`."""
