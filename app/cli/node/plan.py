"""tandem plan: checks whether two models fit a device, before anything is downloaded or started."""

from collections.abc import Sequence

from rich.console import Console

from app.cli.exit_codes import print_json
from app.settings import Settings
from app.wiring.memory import ENGINE_DEFAULTS, advice, pair_demands, plan_devices, with_query_engine
from app.wiring.models import build_profile
from app.wiring.placement import find_placement
from app.wiring.plan_table import DeviceRow, device_table, plan_record, plan_table, verdict
from retrieval.device.detect import Device, find_device
from retrieval.device.engine_memory import EngineDemand
from retrieval.device.planner import DeviceMemory, Plan
from retrieval.errors import ConfigurationError, InvalidRequest
from retrieval.models.shapes import WEIGHT_FORMATS


def plan_memory(
    settings: Settings,
    console: Console,
    *,
    memory_gb: float | None,
    step_tokens: int | None,
    weights: str | None,
    as_json: bool,
) -> bool:
    """Prints the plan. Returns whether the models fit. `memory_gb` is in 10^9 bytes, the unit of data sheets, and is
    the memory of each device that models are split over; None: that of the devices found here, as engines are placed on
    them. Raises InvalidRequest, ConfigurationError, ModelUnavailable, Unsupported.
    """
    if weights is not None and weights not in WEIGHT_FORMATS:
        raise InvalidRequest(f"--weights {weights}: known are {', '.join(WEIGHT_FORMATS)}.")
    if memory_gb is not None and not settings.models:
        settings = settings.model_copy(update={"models": "qwen3-0.6b"})
    kind: Device = find_device() if memory_gb is None else "cuda"
    step_tokens = step_tokens or ENGINE_DEFAULTS[kind].max_num_batched_tokens
    pair, stored = build_profile(settings), WEIGHT_FORMATS[weights] if weights else None

    def demands_of(settings: Settings) -> Sequence[EngineDemand]:
        return pair_demands(settings, pair, weights=stored)

    rows: Sequence[DeviceRow] = ()
    if memory_gb is None:
        placement = find_placement(settings, demands_of, step_tokens)
        if placement.plan is None:
            raise ConfigurationError(
                "There is no accelerator here whose memory can be planned. Say how much one has, in GB: "
                "tandem plan --memory 24"
            )
        settings, found, rows = placement.settings, placement.plan, placement.rows
    else:
        device = DeviceMemory(round(memory_gb * 1e9), count=settings.parts)

        def planned(settings: Settings) -> Plan:
            return plan_devices(settings, demands_of(settings), device, step_tokens)

        settings = with_query_engine(settings, kind, planned)
        found = planned(settings)
    instead = advice(settings, found, demands_of(settings), step_tokens=step_tokens)
    if as_json:
        print_json(plan_record(found, instead, rows))
        return found.fits
    console.print(plan_table(found), "", sep="\n")
    if rows:
        console.print(device_table(rows), "", sep="\n")
    console.print(verdict(found, instead), markup=False, highlight=False, soft_wrap=True)
    return found.fits
