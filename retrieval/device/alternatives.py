"""Advice for models that do not fit a device: each piece of advice is a plan that does fit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from retrieval.device.engine_memory import EngineDemand
from retrieval.device.planner import DeviceMemory, Plan, gigabytes, plan
from retrieval.errors import ConfigurationError
from retrieval.models.shapes import BFLOAT16, FP8, INT4

DEVICE_SIZES_GB = (8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 141)
"""Memory of accelerators as they are sold."""
SPLITS = (1, 2, 4, 8)


def alternatives(
    failed: Plan,
    demands: Sequence[EngineDemand],
    pairs: Mapping[str, Sequence[EngineDemand]],
    *,
    step_tokens: int,
    window_is_fixed: bool,
) -> Iterator[str]:
    """Yields sentences, the smallest change first. `failed` is the plan of `demands`; `pairs` holds other models to
    offer by name, largest first, and the first pair that fits is named.
    """
    device, devices = failed.device, failed.tensor_parallel

    def fits(
        changed: Sequence[EngineDemand],
        on: DeviceMemory = device,
        *,
        fixed: bool = window_is_fixed,
        split: int = devices,
    ) -> Plan | None:
        try:
            found = plan(changed, on, step_tokens=step_tokens, window_is_fixed=fixed, tensor_parallel=split)
        except ConfigurationError:
            return None
        return found if found.fits else None

    if device.used_bytes and fits(demands, replace(device, used_bytes=0)):
        yield f"end what holds {gigabytes(device.used_bytes)} GB of the device now"
    if any(demand.share for demand in demands) and fits([replace(demand, share=None) for demand in demands]):
        yield "leave TANDEM_EMBED_MEMORY_SHARE and TANDEM_RERANK_MEMORY_SHARE to the plan"
    if window_is_fixed and (shorter := fits(demands, fixed=False)):
        yield f"TANDEM_MAX_MODEL_LEN={max(engine.max_model_len for engine in shorter.engines)}"
    if all(demand.shape.weights == BFLOAT16 for demand in demands):
        for weights, checkpoints in ((FP8, "FP8"), (INT4, "4-bit (GPTQ or AWQ)")):
            smaller = [replace(each, shape=replace(each.shape, weights=weights)) for each in demands]
            if fits(smaller):
                yield f"{checkpoints} checkpoints of the same models (TANDEM_EMBED_MODEL, TANDEM_RERANK_MODEL)"
                break
    for name, pair in pairs.items():
        if found := fits(pair):
            yield f"TANDEM_MODELS={name}, which takes {gigabytes(found.needed_bytes)} GB here"
            break
    splits = [split for split in SPLITS if split != devices and not (failed.devices_missing and split > device.count)]
    for split in splits:
        if fits(demands, replace(device, count=max(split, device.count)), split=split):
            setting = f"TANDEM_TENSOR_PARALLEL={split}"
            yield setting if split <= device.count else f"{split} such devices, and {setting}"
            break
    if failed.devices_missing:
        if fits(demands, replace(device, count=devices)):
            yield f"{devices} such devices that this process may use (CUDA_VISIBLE_DEVICES, ASCEND_RT_VISIBLE_DEVICES)"
        return
    for size in DEVICE_SIZES_GB:
        if size * 1e9 > device.total_bytes and fits(demands, DeviceMemory(int(size * 1e9), count=devices)):
            yield f"{'a device' if devices == 1 else f'{devices} devices'} of {size} GB"
            break
