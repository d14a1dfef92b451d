"""Paths of this part: what people say of events, models that learn, recordings, fits and settings."""

from __future__ import annotations

from fastapi import APIRouter

from asd_serve.teaching import remark_routes

router = APIRouter()
router.include_router(remark_routes.router)
