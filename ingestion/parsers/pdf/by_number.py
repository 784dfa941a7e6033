"""Fast calls of PDFium's functions. A page has thousands of characters, and pypdfium2 makes an object for each pointer
and converts each argument.
"""

import ctypes
from collections.abc import Callable
from typing import Any

POINTER = ctypes.c_void_p


def by_number(function: Any, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Returns pypdfium2's `function` with other types of its result and arguments, of the same size.

    Without `arguments` nothing is converted, which is fastest: it takes integers as C's int, and pointers only as
    `reference_to` and `ctypes.byref` return them. The interpreter stays locked during a call, so these are for
    functions that only look something up.
    """
    address = ctypes.cast(function, POINTER).value
    assert address
    return ctypes.PYFUNCTYPE(result, *arguments)(address)


def number_of(pointer: Any) -> int:
    """Returns the address that a pointer of pypdfium2 holds."""
    return ctypes.cast(pointer, POINTER).value or 0


def reference_to(address: int) -> Any:
    """Returns the pointer to an address as an argument that needs no conversion."""
    return ctypes.byref(ctypes.c_char.from_address(address))
