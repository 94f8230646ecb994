"""Which curves of a run its page draws."""

import json

import pytest

from tfcontrastive.fitting.page import curves
from tfcontrastive.runs.model_dir import ModelDir


@pytest.mark.parametrize(
    ("steps", "drawn"),
    [((10, 20, 30), ["Contrastive loss"]), ((10,), ["Contrastive loss", "Effective rank of the features"])],
)
def test_a_single_point_is_no_chart_beside_others(tmp_path, steps, drawn):
    lines = [{"step": step, "loss": 4.0} for step in steps]
    lines[-1]["effective_rank"] = 7.0
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [chart.title for chart in curves(ModelDir(str(tmp_path)), {}).charts] == drawn
