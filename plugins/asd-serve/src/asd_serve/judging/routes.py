"""Paths of this part."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/api")
