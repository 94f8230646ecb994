"""What a long command shows: its stages by name, and that it lives."""

import time

import pytest

from tfcontrastive.system.stages import Stages


def test_stages_are_numbered_as_they_begin(capsys):
    with Stages(["training", "report"], seconds_between_dots=60) as stages:
        stages.next()
        stages.say("a line")
        stages.next()
    assert capsys.readouterr().err.splitlines() == ["starting", "1/2 training", "a line", "2/2 report"]


def test_silence_is_filled_with_dots_on_a_line_of_their_own(capsys):
    with Stages(["training"], seconds_between_dots=0.01) as stages:
        stages.next()
        shown = ""
        while "." not in shown:
            time.sleep(0.005)
            shown += capsys.readouterr().err
        stages.say("done")
    shown += capsys.readouterr().err
    assert shown.startswith("starting\n")
    lines = [line for line in shown.splitlines() if line.strip(".")]
    assert lines == ["starting", "1/1 training", "done"]


def test_an_error_ends_the_dots(capsys):
    stages = Stages(["training"], seconds_between_dots=0.01)
    with pytest.raises(ZeroDivisionError), stages:
        stages.say(f"{1 / 0}")
    assert not stages._thread.is_alive()
