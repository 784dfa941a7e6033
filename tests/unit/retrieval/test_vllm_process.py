import threading

from retrieval.engines.vllm_process import within


def test_work_that_ends_is_waited_for() -> None:
    done = threading.Event()
    within(60, done.set)
    assert done.is_set()


def test_work_that_hangs_is_left_behind() -> None:
    hanging, never = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        never.wait()

    within(0.01, hang)
    assert hanging.is_set()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "engine clean-up")
    never.set()
