"""Waits until a killed engine's memory is free, which happens with a delay, so that the next start does not fail."""

from collections.abc import Callable

import structlog

from retrieval.device.planner import DeviceMemory, gigabytes

log = structlog.get_logger()

ATTEMPTS = 60

ReadMemory = Callable[[], DeviceMemory | None]
"""None: the device does not report it."""


def wait_for_memory(
    share: float,
    read: ReadMemory,
    pause: Callable[[], bool],
    *,
    attempts: int = ATTEMPTS,
) -> bool:
    """Waits for free memory before an engine starts on a GPU or NPU; called in the thread that starts it. vLLM refuses
    to start unless `share` of the whole device is free. Returns True when it is, or when `read` does not report it;
    False when it is not after so many attempts, or when `pause`, called between them, returned True to give up
    (`threading.Event.wait` with a second fits). It raises nothing itself: vLLM reports the lack of memory."""
    for attempt in range(attempts):
        memory = read()
        if memory is None or memory.total_bytes - memory.used_bytes >= share * memory.total_bytes:
            return True
        if attempt == 0:
            log.info(
                "waiting for memory",
                needed_gb=gigabytes(share * memory.total_bytes),
                free_gb=gigabytes(memory.total_bytes - memory.used_bytes),
            )
        if attempt + 1 < attempts and pause():
            break
    return False
