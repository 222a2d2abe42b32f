"""Requests that go together: in the order in which they came, each with its own answer, and nobody is stranded."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from forking import forked
from interrupting import Strike, Struck

from budgeted.ledger.combined_calls import Combiner, NotSentError

LONG = 60.0
forks = pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")


def soon(seconds: float = LONG) -> float:
    return time.monotonic() + seconds


class Server:
    """Doubles numbers. It answers when it is let, and says when it is asked."""

    def __init__(self, *, most: int = 64, at_once: int = 1, errors: tuple[type[Exception], ...] = (Exception,)) -> None:
        self.asked: list[list[int]] = []
        self.reached = threading.Semaphore(0)
        self.lets = threading.Semaphore(0)
        self.raises: list[BaseException] = []
        self.combiner = Combiner(self.run, most, at_once=at_once, errors=errors)

    def run(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.asked.append(list(numbers))
        self.reached.release()
        assert self.lets.acquire(timeout=LONG)
        if self.raises:
            raise self.raises.pop()
        return [2 * number if number >= 0 else ValueError(number) for number in numbers]

    def let(self, times: int = 1) -> None:
        self.lets.release(times)

    def wait_asked(self) -> None:
        assert self.reached.acquire(timeout=LONG)

    def wait_line(self, length: int) -> None:
        """Wait until so many wait in line."""
        while len(self.combiner._line) < length:
            threading.Event().wait(0.001)


def signal_until(handled: threading.Event) -> None:
    """Signal the main thread until it has noticed: one that is just about to block does not."""
    while not handled.wait(0.01):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


@pytest.fixture
def crew() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as made:
        yield made


def lined_up(server: Server, crew: ThreadPoolExecutor, numbers: Sequence[int]) -> list[Future[int]]:
    """Calls that join the line in this order."""
    before, calls = len(server.combiner._line), []
    for joined, number in enumerate(numbers, before + 1):
        calls.append(crew.submit(server.combiner.call, number, soon()))
        server.wait_line(joined)
    return calls


def test_who_comes_while_nothing_is_under_way_goes_alone_in_its_own_thread() -> None:
    threads: list[int] = []

    def run(numbers: Sequence[int]) -> list[int]:
        threads.append(threading.get_ident())
        return list(numbers)

    combiner = Combiner(run, 64)
    assert [combiner.call(number, soon()) for number in range(3)] == [0, 1, 2]
    assert threads == [threading.get_ident()] * 3


def test_who_comes_during_a_round_trip_joins_the_next_in_the_order_of_coming(crew: ThreadPoolExecutor) -> None:
    server = Server(most=3)
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    others = lined_up(server, crew, [2, 3, 4, 5, 6])
    server.let(3)
    assert [call.result(LONG) for call in (first, *others)] == [2, 4, 6, 8, 10, 12]
    assert server.asked == [[1], [2, 3, 4], [5, 6]]


def test_each_gets_its_own_answer_or_exception(crew: ThreadPoolExecutor) -> None:
    server = Server()
    server.let(2)
    with pytest.raises(ValueError, match="-1"):
        server.combiner.call(-1, soon())
    server.wait_asked()
    server.lets.acquire()
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    others = lined_up(server, crew, [2, -3, 4])
    server.let(2)
    assert first.result(LONG) == 2
    assert others[0].result(LONG) == 4
    with pytest.raises(ValueError, match="-3"):
        others[1].result(LONG)
    assert others[2].result(LONG) == 8


def test_what_a_round_trip_raises_is_everybodys_and_the_next_goes_on(crew: ThreadPoolExecutor) -> None:
    server = Server()
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    others = lined_up(server, crew, [2, 3])
    server.let()
    server.wait_asked()
    later = lined_up(server, crew, [4])
    server.raises.append(ConnectionError("cut"))
    server.let(2)
    assert first.result(LONG) == 2
    for call in others:
        with pytest.raises(ConnectionError, match="cut"):
            call.result(LONG)
    assert later[0].result(LONG) == 8


def test_several_round_trips_may_be_under_way(crew: ThreadPoolExecutor) -> None:
    server = Server(at_once=2)
    calls = [crew.submit(server.combiner.call, number, soon()) for number in (1, 2)]
    server.wait_asked()
    server.wait_asked()
    calls += lined_up(server, crew, [3, 4])
    server.let(3)
    assert [call.result(LONG) for call in calls] == [2, 4, 6, 8]
    assert sorted(server.asked) == [[1], [2], [3, 4]]


def test_who_has_not_been_sent_by_its_deadline_leaves_the_line(crew: ThreadPoolExecutor) -> None:
    server = Server()
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    others = lined_up(server, crew, [2])
    with pytest.raises(NotSentError):
        server.combiner.call(3, soon(0.01))
    others += lined_up(server, crew, [4])
    server.let(2)
    assert [call.result(LONG) for call in (first, *others)] == [2, 4, 8]
    assert server.asked == [[1], [2, 4]]


def test_who_was_sent_is_not_told_that_it_was_not(crew: ThreadPoolExecutor) -> None:
    server = Server()
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    leads = lined_up(server, crew, [2])
    led = crew.submit(server.combiner.call, 3, soon(0.2))
    server.wait_line(2)
    server.let()
    server.wait_asked()
    with pytest.raises(TimeoutError, match="before the answer") as caught:
        led.result(LONG)
    assert not isinstance(caught.value, NotSentError)
    server.let()
    assert [first.result(LONG), leads[0].result(LONG)] == [2, 4]
    assert server.asked == [[1], [2, 3]]


def test_a_deadline_that_has_passed_is_no_matter_where_nobody_is_in_the_way() -> None:
    server = Server()
    server.let()
    assert server.combiner.call(1, soon(-1)) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Struck()], ids=repr)
def test_who_is_led_by_one_that_is_struck_is_sent_again(error: BaseException, crew: ThreadPoolExecutor) -> None:
    server = Server(errors=(OSError,))
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    others = lined_up(server, crew, [2, 3, 4])
    server.let()
    server.wait_asked()
    server.raises.append(error)
    server.let(2)
    assert first.result(LONG) == 2
    with pytest.raises(type(error)):
        others[0].result(LONG)
    assert [call.result(LONG) for call in others[1:]] == [6, 8]
    assert server.asked == [[1], [2, 3, 4], [3, 4]]


def test_who_gave_up_is_not_sent_again_for_one_that_was_struck(crew: ThreadPoolExecutor) -> None:
    server = Server(errors=(OSError,))
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    leads = lined_up(server, crew, [2])
    gone = crew.submit(server.combiner.call, 3, soon(0.2))
    server.wait_line(2)
    server.let()
    server.wait_asked()
    with pytest.raises(TimeoutError):
        gone.result(LONG)
    later = lined_up(server, crew, [4])
    server.raises.append(Struck())
    server.let(2)
    assert first.result(LONG) == 2
    with pytest.raises(Struck):
        leads[0].result(LONG)
    assert later[0].result(LONG) == 8
    assert server.asked == [[1], [2, 3], [4]]


@pytest.mark.parametrize("waits", [False, True], ids=["who leads", "who waits"])
def test_a_signals_handler_may_call_in_the_middle_of_a_call(waits: bool, crew: ThreadPoolExecutor) -> None:
    server = Server()
    if waits:
        crew.submit(server.combiner.call, 7, soon())
        server.wait_asked()
    answers: list[int] = []
    handled = threading.Event()

    def handle(*_: object) -> None:
        if not handled.is_set():
            handled.set()
            server.let(4)
            answers.append(server.combiner.call(5, soon()))

    def strike() -> None:
        if waits:
            server.wait_line(1)
        else:
            server.wait_asked()
        signal_until(handled)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        striking = crew.submit(strike)
        assert server.combiner.call(1, soon()) == 2
        striking.result(LONG)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answers == [10]
    assert [5] in server.asked


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [False, True], ids=["where signals are looked for", "at any bytecode"])
def test_a_struck_thread_strands_nobody_wherever_it_is_struck(at_once: bool, crew: ThreadPoolExecutor) -> None:
    for role in (_leads, _is_led):
        number = 0
        while True:
            number += 1
            server = Server(errors=(OSError,))
            others: list[Future[int]] = []
            strike = Strike(number, at_once=at_once, locked=server.combiner._lock.locked)
            role(server, crew, others, strike)
            assert [call.result(LONG) for call in others] == [2 * n for n in range(2, 2 + len(others))], strike.where
            server.let(9)
            assert server.combiner.call(20, soon()) == 40
            assert not server.combiner._line, strike.where
            assert not server.combiner._led, strike.where
            if not strike.where:
                break
        assert number > 50


def _leads(server: Server, crew: ThreadPoolExecutor, others: list[Future[int]], strike: Strike) -> None:
    """This thread's request goes alone; others wait behind it."""

    def beside() -> None:
        others.extend(crew.submit(server.combiner.call, number, soon()) for number in (2, 3))
        server.let(9)

    _struck(server, strike, beside)


def _is_led(server: Server, crew: ThreadPoolExecutor, others: list[Future[int]], strike: Strike) -> None:
    """This thread leads, or is led by, others that have waited together with it."""
    others.append(crew.submit(server.combiner.call, 2, soon()))
    server.wait_asked()
    others.extend(lined_up(server, crew, [3]))

    def beside() -> None:
        others.append(crew.submit(server.combiner.call, 4, soon()))
        server.let(9)

    _struck(server, strike, beside)


def _struck(server: Server, strike: Strike, beside: Callable[[], None]) -> None:
    beside()
    try:
        with strike.armed():
            server.combiner.call(1, soon())
    except KeyboardInterrupt:
        assert strike.where


@forks
def test_a_forked_child_begins_anew(crew: ThreadPoolExecutor) -> None:
    server = Server()
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    others = lined_up(server, crew, [2, 3])

    def child() -> int:
        server.asked.clear()
        server.lets = threading.Semaphore(9)
        assert server.combiner.call(4, soon()) == 8
        assert server.asked == [[4]]
        return 1

    assert forked(child) == "1"
    server.let(2)
    assert [call.result(LONG) for call in (first, *others)] == [2, 4, 6]


@forks
def test_a_child_that_is_forked_by_who_waits_asks_for_itself(crew: ThreadPoolExecutor) -> None:
    server = Server()
    first = crew.submit(server.combiner.call, 1, soon())
    server.wait_asked()
    pids: list[int] = []
    handled = threading.Event()

    def handle(*_: object) -> None:
        if handled.is_set():
            return
        handled.set()
        pids.append(os.fork())
        if not pids[0]:
            server.asked.clear()
            server.lets = threading.Semaphore(9)

    def let_then() -> None:
        server.wait_line(1)
        signal_until(handled)
        server.let(2)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        answering = crew.submit(let_then)
        answer = server.combiner.call(2, soon())
    finally:
        signal.signal(signal.SIGUSR1, before)
    if not pids[0]:
        os._exit(0 if answer == 4 and server.asked == [[2]] else 1)
    assert answer == 4
    answering.result(LONG)
    assert first.result(LONG) == 2
    assert os.waitpid(pids[0], 0)[1] == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("at_once", [1, 3])
def test_random_threads_get_their_own_answers_and_no_request_is_lost(seed: int, at_once: int) -> None:
    rng = random.Random(seed)
    asked: list[int] = []
    fails = {number for number in range(1600) if rng.random() < 0.05}

    def run(numbers: Sequence[int]) -> Sequence[int | Exception]:
        asked.extend(numbers)
        if rng.random() < 0.02:
            raise ConnectionError
        return [ValueError(number) if number in fails else -number for number in numbers]

    combiner = Combiner(run, 5, at_once=at_once)

    def work(first: int) -> int:
        cut = 0
        for number in range(first, first + 200):
            try:
                assert combiner.call(number, soon()) == -number
            except ValueError as error:
                assert error.args == (number,)
            except ConnectionError:
                cut += 1
        return cut

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as crew:
            cut = sum(crew.map(work, range(0, 1600, 200)))
    finally:
        sys.setswitchinterval(interval)
    assert sorted(asked) == list(range(1600))
    assert cut < 400
