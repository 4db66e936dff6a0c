"""What jobs print, and text that is cut into lines."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from reworker.jobs.lines import LINE_LENGTH, ByteLines, LineCutter
from reworker.jobs.prints import captured_streams, prints_to
from reworker.output import Output
from reworker.testing import Harness
from reworker.worker import Job, Worker, step


class PrintingWorker(Worker):
    @step("Print")
    def prints(self, job: Job) -> None:
        print("one\ntwo")
        sys.stderr.writelines(["a ", "warning\n"])
        print("50 %\r100 %", end="", flush=True)

    @step("PrintLater")
    async def prints_later(self, job: Job) -> None:
        print("in the loop")
        await asyncio.to_thread(print, "in its thread")


def lines_of(subcommand: str, **properties: Any) -> list[str]:
    harness = Harness(PrintingWorker, **properties)
    with captured_streams():
        return list(harness.run(harness.delivery({"parameters": {"subcommand": subcommand}})).output)


def test_prints_are_lines_of_output_when_they_are_captured(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of("Print", capture_stdout=True) == ["one", "two", "a warning", "50 %", "100 %"]
    assert capsys.readouterr() == ("", "")


def test_prints_of_async_steps_are_captured_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of("PrintLater", capture_stdout=True) == ["in the loop", "in its thread"]


def test_level_of_the_output_holds_for_prints() -> None:
    assert lines_of("Print", capture_stdout=True, OUTPUT_LEVEL="WARNING") == ["a warning"]


def test_prints_go_where_they_always_went_when_they_are_not_captured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert lines_of("Print") == []
    assert capsys.readouterr() == ("one\ntwo\n50 %\r100 %", "a warning\n")


def test_each_thread_prints_to_the_output_of_its_own_job(capsys: pytest.CaptureFixture[str]) -> None:
    sent: dict[str, list[Any]] = {"a": [], "b": []}
    meeting = threading.Barrier(2, timeout=5)

    def work(name: str) -> None:
        with prints_to(Output(lambda *args: sent[name].append(args[2]["message"]), name)):
            for number in range(3):
                meeting.wait()
                print(name, number)

    with captured_streams():
        threads = [threading.Thread(target=work, args=(name,)) for name in sent]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("outside")
    assert sent == {name: [f"{name} 0", f"{name} 1", f"{name} 2"] for name in sent}
    assert capsys.readouterr().out == "outside\n"


def test_streams_are_put_back_and_can_be_used_like_files() -> None:
    before = sys.stdout, sys.stderr
    with captured_streams():
        assert sys.stdout.encoding == before[0].encoding
        assert sys.stdout.writable()
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        (["a\n", "b"], ["a", "b"]),
        (["a", "b\n\n"], ["ab", ""]),
        (["x" * (LINE_LENGTH + 1)], ["x" * LINE_LENGTH, "x"]),
        (["x" * (2 * LINE_LENGTH) + "\ny"], ["x" * LINE_LENGTH, "x" * LINE_LENGTH, "y"]),
    ],
)
def test_pieces_become_lines(pieces: list[str], lines: list[str]) -> None:
    cutter = LineCutter()
    assert [line for piece in pieces for line in cutter.feed(piece)] + list(cutter.end()) == lines


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\r", b"\nb\rc"], ["a", "b", "c"]),
        ([b"\xc3", b"\xa4\n"], ["\xe4"]),
        ([b"\xff\n"], ["\\xff"]),
        ([b"cut \xc3"], ["cut \\xc3"]),
    ],
)
def test_bytes_become_lines_in_whatever_pieces_they_come(pieces: list[bytes], lines: list[str]) -> None:
    cutter = ByteLines()
    assert [line for piece in pieces for line in cutter.feed(piece)] + list(cutter.end()) == lines
