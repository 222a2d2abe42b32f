"""A net under everything: what no SDK's hook above has metered is recognised where an HTTP client sends it.

By host, path and wire format: see :mod:`budgeted.wire.api_endpoints`; over gRPC by the method's name, see
:mod:`budgeted.wire.grpc_methods`. A file for each client.
"""

from __future__ import annotations

from budgeted.providers.http_clients import aiohttp, curl_cffi, grpc, grpc_asyncio, http_client, httpx, urllib3

HOOKS = tuple(
    hook for module in (aiohttp, curl_cffi, grpc, grpc_asyncio, http_client, httpx, urllib3) for hook in module.HOOKS
)
