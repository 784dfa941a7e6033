"""Standard input of a program that does other things while it waits for it."""

import asyncio
import sys


async def standard_input() -> asyncio.StreamReader:
    """To read from in the running event loop. It has to be a pipe or a socket."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader
