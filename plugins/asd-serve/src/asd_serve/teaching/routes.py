"""Paths of this part: what people say of events, recordings, fits, jobs and settings."""

from __future__ import annotations

from fastapi import APIRouter

from asd_serve.teaching import option_routes, record_routes, remark_routes
from asd_serve.teaching.teaching import begin as begin

router = APIRouter()
for part in (remark_routes, record_routes, option_routes):
    router.include_router(part.router)
