import pytest

from app.http.limits import Admission
from ingestion.errors import Overloaded


async def test_admission_bounds_what_is_under_way_and_frees_it_after_errors() -> None:
    admission = Admission(100, "candidates", 60)
    async with admission.admit(60):
        with pytest.raises(Overloaded) as refused:
            async with admission.admit(50):
                pass
        assert refused.value.detail["retry_after_s"] == 1
        async with admission.admit(40):
            pass
    with pytest.raises(KeyError):
        async with admission.admit(100):
            raise KeyError
    async with admission.admit(100):
        pass


async def test_an_idle_node_takes_a_search_larger_than_the_bound() -> None:
    async with Admission(10, "candidates", 60).admit(400):
        pass


async def test_what_cannot_be_answered_in_time_is_refused_with_when_it_could_be() -> None:
    admission = Admission(8000, "candidates", 75)  # filled up to 60 s
    async with admission.admit(50, 40), admission.admit(50, 20):
        assert admission.seconds == 60
        with pytest.raises(Overloaded, match="TANDEM_SEARCH_DEADLINE_SECONDS") as refused:
            async with admission.admit(50, 12.5):
                pass
        assert refused.value.detail["retry_after_s"] == 13
    assert admission.seconds == 0
    async with admission.admit(50, 12.5):
        pass


@pytest.mark.parametrize(("seconds", "retry_after"), [(60.1, 1), (61.5, 2), (1e6, 60)])
async def test_more_than_the_deadline_is_refused_by_an_idle_node_too(seconds: float, retry_after: int) -> None:
    admission = Admission(8000, "candidates", 60)
    with pytest.raises(Overloaded) as refused:
        async with admission.admit(50, seconds, any_size_when_idle=False):
            pass
    assert refused.value.detail["retry_after_s"] == retry_after
    async with admission.admit(50, seconds):
        with pytest.raises(Overloaded):
            async with admission.admit(1, 0.1):
                pass


async def test_a_full_node_says_when_enough_of_its_work_will_be_done() -> None:
    admission = Admission(100, "candidates", 60)
    async with admission.admit(80, 40):
        with pytest.raises(Overloaded) as refused:
            async with admission.admit(60, 1):
                pass
    assert refused.value.detail["retry_after_s"] == 20  # half of the 80 candidates, and half of their 40 s
