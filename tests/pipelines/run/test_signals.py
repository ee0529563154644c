from __future__ import annotations

import signal
import threading

import pytest

from pipelines.run.signals import stopping_on_signals


def test_sigterm_is_a_keyboard_interrupt_within_the_block_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopping_on_signals():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_it_is_for_the_main_thread() -> None:
    raised: list[str] = []

    def enter() -> None:
        try:
            with stopping_on_signals():
                pass
        except ValueError as error:
            raised.append(str(error))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert len(raised) == 1 and "main thread" in raised[0]
