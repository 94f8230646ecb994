"""What a result shows at a prompt and in a notebook."""

import types

from tfcontrastive.config import LoopConfig, TrainConfig
from tfcontrastive.runs.pretrain import TrainResult


def test_a_result_is_one_line_at_a_prompt_and_a_table_in_a_notebook():
    config, plan = TrainConfig(loop=LoopConfig(model_dir="runs/a")), types.SimpleNamespace(steps=1200)
    result = TrainResult(config, None, {"knn_top1": 0.8125, "a<b": 2.0}, None, plan, [], 61.3)
    assert repr(result) == "TrainResult(simclr, 1,200 steps in 61 s, 'runs/a': knn_top1=0.8125, a<b=2)"
    assert result._repr_html_() == (
        "<table><tr><th>knn_top1</th><td>0.8125</td></tr><tr><th>a&lt;b</th><td>2.0000</td></tr></table>"
    )
