"""The bodies of a server's responses, read as they come and no further than to a bound.

A server, or what stands in its way, may send without end, and a few KB of a compressed body may become GB. So none is
asked for compressed, and one that comes compressed all the same is decompressed here, to the same bound.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import DefaultAsyncHttpxClient

MOST_BYTES = 8 * 2**20
"""The largest body that is read: an answer of a few thousand tokens has some 20 KB."""

MOST_VALUES = 2**16
"""The most JSON values in a body. An answer has some 20 and a list of models some thousands; the library makes a Python
object of each, at 20 microseconds, in which nothing else can be asked and no time-out ends."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # of zlib's inflateInit2: whichever the header says


class BadBody(ValueError):
    """A body is too large, has too much in it, or is not what its header says. The message has nothing of it."""


def client(**given: Any) -> DefaultAsyncHttpxClient:
    """The library's HTTP client, whose responses have bodies as `read` bounds them, and which follows no redirect.

    It keeps no cookies, of which a server could set ever more. Requests raise BadBody beside the client's own errors.
    """
    from openai import DefaultAsyncHttpxClient

    class Bounded(DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            request.headers["Accept-Encoding"] = "identity"
            response = await super().send(request, stream=True, **options)
            try:
                body = await read(response.aiter_raw(), response.headers.get("Content-Encoding", ""))
            finally:
                await response.aclose()
                self.cookies.clear()
            dropped = (b"content-encoding", b"content-length", b"transfer-encoding")
            headers = [(name, value) for name, value in response.headers.raw if name.lower() not in dropped]
            return type(response)(response.status_code, headers=headers, content=body, request=request)

    return Bounded(follow_redirects=False, **given)


async def read(raw: AsyncIterator[bytes], encoding: str) -> bytes:
    """A body of at most MOST_BYTES and MOST_VALUES. `encoding` is its Content-Encoding. Raises BadBody."""
    decoded, sizes, parts = _decoder(encoding.strip().lower()), [0, 0], []
    async for chunk in raw:
        part = decoded(chunk, MOST_BYTES + 1 - sizes[1])
        sizes[0] += len(chunk)
        sizes[1] += len(part)
        if max(sizes) > MOST_BYTES:
            raise BadBody(f"a body of over {MOST_BYTES // 2**20} MiB")
        parts.append(part)
    body = b"".join(parts)
    # At least as many as there are values, each of which a comma or a bracket is before: those in texts count too.
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise BadBody(f"a body of over {MOST_VALUES:,} values")
    return body


def _decoder(encoding: str) -> Callable[[bytes, int], bytes]:
    """What makes of a part of a body at most so many bytes of what it stands for."""
    if encoding in ("", "identity"):
        return lambda chunk, most: chunk
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise BadBody("a body in an encoding that was not asked for")
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)

    def decompressed(chunk: bytes, most: int) -> bytes:
        try:
            return stream.decompress(chunk, most)
        except zlib.error:
            raise BadBody(f"a body that is not {encoding}") from None

    return decompressed
