"""What the tests of sinks share."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from asd.plugin import Sink, create

NASTY = 'pump "A" #1/+\r\nBcc: eve@example.org\r\n\r\n<script>alert(1)</script>\u202e'


def made(name: str, **parameters: Any) -> Sink:
    return create(
        "sink", name, {key: str(each) if isinstance(each, Path) else each for key, each in parameters.items()}
    )


def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context
