"""What a worker process of ``local:N`` imports first: Ctrl-C, which reaches it, too, is its parent's business."""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
