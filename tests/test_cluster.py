"""TF_CONFIG: what is refused, who is waited for, and how a lost task is named."""

import json
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcontrastive import distribute
from tfcontrastive.cluster import Cluster
from tfcontrastive.config import ClusterError, InputError

TWO = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "must be JSON"),
        ("[1]", "must be JSON"),
        ('{"cluster": {}}', "must be JSON"),
        (config({"worker": ["10.0.0.1"]}), "host0:port"),
        (config({"worker": "10.0.0.1:2222"}), "host0:port"),
        (config(TWO, index=2), "worker 0, worker 1. Received: worker 2"),
        (config(TWO, "chief"), "Received: chief 0"),
        (config({**TWO, "ps": ["10.0.0.3:2222"]}, "ps"), "Received: ps 0"),
        (config({"worker": ["10.0.0.1:2222", "10.0.0.1:2222"]}), "10.0.0.1:2222 twice"),
        (config({"chief": ["HOST:2222"], "worker": ["host:2222"]}), "host:2222 twice"),
        (config({"worker": ["10.0.0.1:99999"]}), "'10.0.0.1:99999'"),
        (config({"worker": ["10.0.0.1:0"]}), "from 1 to 65535"),
        (config({"worker": ["a..b:2222"]}), "'a..b:2222'"),
        (config({"worker": ["grpc://a:2222"]}), "'grpc://a:2222'"),
        (config({"worker": ["[::g]:2222"]}), "'[::g]:2222'"),
        (config({"worker": ["a:²"]}), "'a:²'"),
        (config(TWO, index="0"), 'whole number as "index"'),
        (config(TWO, index=True), 'whole number as "index"'),
        (config(TWO, index=-1), "Received: worker -1"),
        (config({"chief": ["a:1", "b:1"]}, "chief"), "one chief at most"),
        ("[" * 100_000, "must be JSON"),
        (json.dumps({"task": {"type": "worker", "index": 0}}), "must be JSON"),
    ],
)
def test_a_bad_tf_config_is_refused(monkeypatch, text, part):
    monkeypatch.setenv("TF_CONFIG", text)
    for name in ("multi_worker", "auto"):
        with pytest.raises(InputError, match="TF_CONFIG") as error:
            distribute.make_strategy(name)
        assert part in str(error.value)


@pytest.mark.parametrize("place", ["localhost:1", "a-b.c_d.example.:65535", "10.0.0.1:2222", "[::1]:2222"])
def test_addresses_as_people_write_them(monkeypatch, place):
    monkeypatch.setenv("TF_CONFIG", config({"worker": [place]}))
    assert Cluster.from_environment().addresses == {"worker": [place]}


WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = st.lists(st.sampled_from(["a:1", "b:2", "a..b:1", "a:0", "a:70000", "", ":1", "a"]) | WILD, max_size=3)


KINDS, INDICES = st.sampled_from(["chief", "worker"]), st.integers(-1, 3)


@given(
    cluster=WILD | st.dictionaries(st.sampled_from(["chief", "worker", "ps"]), PLACES | WILD, max_size=3),
    task=WILD | st.fixed_dictionaries({"type": KINDS | WILD, "index": INDICES | WILD}),
)
def test_any_tf_config_is_a_cluster_or_one_line(cluster, task):
    text = json.dumps({"cluster": cluster, "task": task})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CONFIG", text)
        try:
            found = Cluster.from_environment()
        except InputError:
            return
    assert (found.kind, found.index) in found.tasks
    assert found.is_chief == (found.tasks[0] == (found.kind, found.index))


@pytest.mark.parametrize("text", ["", "{", "null", "{}", '"a"', "\udc80"])
def test_what_is_no_json_object(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    if not text:
        assert Cluster.from_environment() is None
        return
    with pytest.raises(InputError, match="must be JSON"):
        Cluster.from_environment()


def test_multi_worker_without_tf_config_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="needs TF_CONFIG"):
        distribute.make_strategy("multi_worker")


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "chief"),
    [(TWO, "worker", 0, True), (TWO, "worker", 1, False)]
    + [({**TWO, "chief": ["10.0.0.9:1"]}, kind, 0, kind == "chief") for kind in ("chief", "worker")],
)
def test_one_task_is_the_chief(monkeypatch, cluster, kind, index, chief):
    monkeypatch.setenv("TF_CONFIG", config(cluster, kind, index))
    assert distribute.is_chief() is chief


def test_a_worker_that_does_not_answer_is_named():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]  # nobody's, once this is closed
    with socket.create_server(("127.0.0.1", 0)) as mine:
        own = mine.getsockname()[1]
    cluster = Cluster({"worker": [f"127.0.0.1:{own}", f"127.0.0.1:{port}"]}, "worker", 0)
    with pytest.raises(InputError, match=rf"within 0.3 s .*no answer from worker 1 \(127.0.0.1:{port}\)"):
        cluster.wait_for_all(0.3)


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("", 0)) as other:
        taken = other.getsockname()[1]
        cluster = Cluster({"worker": [f"127.0.0.1:{taken}", "127.0.0.1:1"]}, "worker", 0)
        with pytest.raises(InputError, match=r"worker 0 .* must be free"):
            cluster.wait_for_all(0.3)


def test_a_join_that_takes_too_long_ends_the_process(monkeypatch, capsys):
    codes, ended = [], threading.Event()
    monkeypatch.setattr("os._exit", lambda code: (codes.append(code), ended.set()))
    with Cluster(TWO, "worker", 0).ends_unless_done(0.01):
        assert ended.wait(60)
    assert codes == [2]
    assert "must join within 0.01 s" in capsys.readouterr().err


def test_a_join_in_time_ends_nothing():
    with Cluster(TWO, "worker", 0).ends_unless_done(60):
        (timer,) = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert timer.finished.is_set()


def test_a_lost_task_is_named_and_other_errors_are_left_alone():
    cluster = Cluster(TWO, "worker", 0)
    message = "Error reported from /job:worker/task:1: unhealthy: /job:worker/replica:0/task:1 [[{{node X}}]]"
    error = cluster.lost(message)
    assert isinstance(error, ClusterError)
    assert str(error).startswith("lost worker 1 (10.0.0.2:2222): ")
    assert cluster.lost("device /job:worker/replica:0/task:0/device:CPU:0: out of memory") is None
