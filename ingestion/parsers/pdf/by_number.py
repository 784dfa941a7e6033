"""Functions of PDFium that take and return pointers as numbers. Those of pypdfium2 make an object for each pointer, and
a page has thousands of characters.
"""

import ctypes
from collections.abc import Callable
from typing import Any

POINTER = ctypes.c_void_p


def by_number(function: Any, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Returns pypdfium2's `function` with other types of its result and arguments, of the same size."""
    address = ctypes.cast(function, POINTER).value
    assert address
    return ctypes.CFUNCTYPE(result, *arguments)(address)


def number_of(pointer: Any) -> int:
    """Returns the address that a pointer of pypdfium2 holds."""
    return ctypes.cast(pointer, POINTER).value or 0
