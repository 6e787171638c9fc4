"""What the page shows of a sweep."""

from __future__ import annotations

from labelnoise.runs.pages import Page

PAGE = Page()
