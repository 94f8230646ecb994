"""The files that a server reads say what TensorFlow Serving's rules ask."""

import importlib.resources
import re


def test_the_largest_allowed_batch_is_the_largest_batch():
    """Else the server refuses: the last of `allowed_batch_sizes` must be `max_batch_size`, and they must ascend."""
    text = (importlib.resources.files("tfcontrastive.export") / "serving" / "batching.config").read_text()
    settings = re.sub(r"#.*", "", text)
    allowed = [int(size) for size in re.findall(r"allowed_batch_sizes:\s*(\d+)", settings)]
    largest = re.search(r"max_batch_size\s*{\s*value:\s*(\d+)\s*}", settings)
    assert allowed == sorted(set(allowed))
    assert allowed[-1] == int(largest[1])
    assert "max_batch_size" in " ".join(re.findall(r"#.*", text)), "whoever changes one is told of the other"
