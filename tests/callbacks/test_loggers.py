"""Loggers of the user's own: the same values as TensorBoard, one run for a training that goes on, and no training lost."""

import dataclasses
import json
import sys
import types

import mlflow
import pytest

from tests.commands import runs
from tfcontrastive.callbacks import RunLogger, loggers
from tfcontrastive.commands.evaluate import log_result
from tfcontrastive.config import (
    DataConfig,
    EncoderConfig,
    InputError,
    LoopConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
)
from tfcontrastive.methods.configs.simclr import SimCLRConfig
from tfcontrastive.runs.pretrain import train


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder of MLflow, and its client."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return tmp_path / "mlruns", mlflow.MlflowClient(tracking_uri=str(tmp_path / "mlruns"))


def run_of(client, directory):
    return client.get_run(json.loads((directory / "logger.json").read_text())["run"])


@pytest.fixture
def wandb(monkeypatch):
    """The few functions of wandb that are used, and what they were called with."""
    calls = []

    def init(**given):
        calls.append(("init", given))
        return types.SimpleNamespace(
            define_metric=lambda name, **more: calls.append(("define_metric", name, more)),
            log=lambda values: calls.append(("log", values)),
            save=lambda path, **more: calls.append(("save", str(path))),
            finish=lambda exit_code: calls.append(("finish", exit_code)),
        )

    module = types.ModuleType("wandb")
    module.init, module.Settings, module.Html = init, lambda **given: given, lambda text, inject: f"html:{text}"
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


def test_a_run_and_what_goes_on_with_it_are_one_run_in_mlflow(store, tmp_path, eagerly):
    folder, client = store
    given = {
        "method_config": SimCLRConfig(proj_out_dim=8),
        "data": DataConfig(dataset=runs.write_images(tmp_path / "images.npz"), image_size=8),
        "encoder": EncoderConfig(**runs.ONE_BLOCK),
        "optimizer": OptimizerConfig(warmup_epochs=0),
    }
    loop = LoopConfig(
        model_dir=str(tmp_path / "run"), train_batch_size=8, train_steps=2, log_to=f"mlflow:{folder}", knn_epochs=0,
        train_summary_steps=1, mixed_precision="float32",
    )  # fmt: skip
    train(TrainConfig(loop=loop, **given))
    first = run_of(client, tmp_path / "run")
    assert (first.info.status, first.info.run_name) == ("FINISHED", "run")
    assert first.data.params["method"] == "simclr"
    assert first.data.params["loop.train_batch_size"] == "8"
    train(TrainConfig(loop=dataclasses.replace(loop, train_steps=4), **given), allow_config_change=True)
    second = run_of(client, tmp_path / "run")
    assert second.info.run_id == first.info.run_id
    history = client.get_metric_history(first.info.run_id, "train/loss")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {point.step for point in history} == {2, 4}, "the first step of each process is that of tracing"
    last = [point.value for point in history if point.step == 4]
    assert lines[-1]["loss"] in last
    assert "optimizer/learning_rate" in second.data.metrics


def test_metrics_wait_for_a_logger_that_is_away(store, tmp_path, monkeypatch, caplog):
    folder, client = store
    logger = RunLogger(f"mlflow:{folder}", str(tmp_path), {"a.b": 1}, may_fail=False)
    real = logger._backend._client.log_batch

    def away(*_, **__):
        raise OSError("connection refused\nand more")

    monkeypatch.setattr(logger._backend._client, "log_batch", away)
    monkeypatch.setattr(loggers, "RETRY_SECONDS", 0.0)
    for step in (1, 2):
        logger.metrics(step, {"train/loss": float(step)})
    warned = [record.getMessage() for record in caplog.records]
    assert warned == [f"mlflow:{folder}: connection refused. Training goes on, and it is tried again."], "once"
    monkeypatch.setattr(logger._backend._client, "log_batch", real)
    logger.finish("finished")
    history = client.get_metric_history(run_of(client, tmp_path).info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 2.0)]


def test_what_never_arrives_is_said(store, tmp_path, monkeypatch, caplog):
    logger = RunLogger(f"mlflow:{store[0]}", str(tmp_path), {}, may_fail=False)
    monkeypatch.setattr(logger._backend._client, "log_batch", lambda *_, **__: 1 / 0)
    logger.metrics(7, {"train/loss": 1.0})
    logger.finish("failed")
    assert "did not get the metrics of 1 of its steps, from step 7 on: metrics.jsonl" in caplog.text


def test_a_logger_that_cannot_be_reached_is_refused_before_training_and_warned_of_after(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    away = f"mlflow:{tmp_path / 'file' / 'below'}"
    with pytest.raises(InputError, match=r"`log_to` must be a logger that can be reached when a run begins\. Received"):
        RunLogger(away, str(tmp_path), {}, may_fail=False)
    logger = RunLogger(away, str(tmp_path), {}, may_fail=True)
    logger.metrics(1, {"train/loss": 1.0})
    logger.finish("finished")
    assert "Training goes on" in caplog.text


def test_wandb_gets_params_metrics_by_step_and_the_page(wandb, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    (tmp_path / "run").mkdir()
    logger = RunLogger("wandb:photos", str(tmp_path / "run"), {"loop.seed": 3}, may_fail=False)
    logger.metrics(5, {"train/loss": 0.5})
    logger.finish("stopped")
    given = wandb[0][1]
    assert (given["project"], given["name"], given["config"], given["resume"]) == (
        "photos",
        "run",
        {"loop.seed": 3},
        "allow",
    )
    logged = next(call[1] for call in wandb if call[0] == "log")
    assert (logged["train/loss"], logged["step"]) == (0.5, 5)
    assert ("define_metric", "*", {"step_metric": "step"}) in wandb
    assert wandb[-1] == ("finish", 143)
    page = tmp_path / "run" / "report.html"
    page.write_text("<p>")
    loggers.attach_page("wandb:photos", str(tmp_path / "run"), str(page))
    again = [call[1] for call in wandb if call[0] == "init"][1]
    assert again["id"] == given["id"], "the same run"
    assert ("save", str(page)) in wandb
    assert ("log", {"report": "html:<p>"}) in wandb


def test_what_evaluate_measures_is_sent_with_its_page(store, tmp_path):
    (tmp_path / "report.html").write_text("<p>")
    results = types.SimpleNamespace(path=str(tmp_path), report=str(tmp_path / "report.html"))
    result, trained = types.SimpleNamespace(metrics={"knn_top1": 0.5}), types.SimpleNamespace(name="simclr", step=40)
    log_result(f"mlflow:{store[0]}", results, result, trained)
    run = run_of(store[1], tmp_path).info.run_id
    assert run_of(store[1], tmp_path).data.params == {"encoder": "simclr"}
    assert [(point.step, point.value) for point in store[1].get_metric_history(run, "knn_top1")] == [(40, 0.5)]
    assert [file.path for file in store[1].list_artifacts(run)] == ["report.html"]


def test_a_part_of_a_run_is_named_after_both(store, tmp_path):
    (tmp_path / "part").mkdir()
    for directory in (tmp_path, tmp_path / "part"):
        RunLogger(f"mlflow:{store[0]}", str(directory), {}, may_fail=False)
    assert run_of(store[1], tmp_path / "part").info.run_name == f"{tmp_path.name}/part"


def test_another_logger_begins_a_run_of_its_own(wandb, store, tmp_path):
    RunLogger("wandb", str(tmp_path), {}, may_fail=False)
    RunLogger(f"mlflow:{store[0]}", str(tmp_path), {}, may_fail=True)
    assert run_of(store[1], tmp_path).info.run_name == tmp_path.name


def test_a_page_that_cannot_be_sent_is_one_warning(store, tmp_path, caplog):
    RunLogger(f"mlflow:{store[0]}", str(tmp_path), {}, may_fail=False).finish("finished")
    loggers.attach_page(f"mlflow:{store[0]}", str(tmp_path), str(tmp_path / "no.html"))
    assert "did not get" in caplog.text
    loggers.attach_page(None, str(tmp_path), "no.html")


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_missing_extra_is_named(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(InputError, match=rf"pip install 'tfcontrastive\[{kind}\]'"):
        loggers.check_logger({"mlflow": "mlflow:x", "wandb": "wandb"}[kind])


@pytest.mark.parametrize("text", ["mlflow", "mlflow:", "wandb:", "tensorboard", ""])
def test_a_logger_of_another_form_is_refused(text):
    with pytest.raises(InputError, match="`log_to` must be mlflow:URI, wandb or wandb:PROJECT"):
        RunConfig(log_to=text)
