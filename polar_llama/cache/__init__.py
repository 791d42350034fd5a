"""Where answers are kept: keys to bytes, shared by threads, processes and days."""

from __future__ import annotations

from polar_llama.cache.disk import CacheInfo, DiskCache, open_cache

__all__ = ["CacheInfo", "DiskCache", "open_cache"]
