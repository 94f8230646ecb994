"""From a trained encoder to what others use: one SavedModel, embedding files, search and serving.

Names are imported on first use: a REST client needs no TensorFlow.
"""

import importlib

_HOMES = {
    "Nearest": "nearest_answer",
    "PostgresSet": "postgres_set",
    "PostgresWriter": "postgres_writer",
    "SavedIndex": "saved_index",
    "ApproximateIndex": "approximate",
    "CppError": "cpp_session",
    "CppSession": "cpp_session",
    "EmbeddingClient": "client",
    "EmbeddingFiles": "embedding_files",
    "EmbeddingWriter": "embedding_writer",
    "ServingError": "serving_error",
    "ItemsShard": "item_shards",
    "add_index": "with_index",
    "check_export": "serve_check",
    "dataset_items": "items",
    "decode_images": "image_bytes",
    "embed_images": "embed",
    "embed_files": "embed",
    "encoded_items": "items",
    "fold_batch_norm": "fold",
    "folder_items": "items",
    "latest_version": "tfcontrastive.pretrained.trained",
    "load_run": "tfcontrastive.runs.load_run",
    "merge_embeddings": "merge",
    "model_digest": "digest",
    "model_facts": "embed",
    "near_duplicates": "search",
    "nearest": "search",
    "read_card": "model_card",
    "save_model": "saved_model",
    "save_once": "saved_model",
    "save_towers": "towers",
    "to_onnx": "convert",
    "to_tflite": "convert",
    "write_duplicates": "gallery",
    "write_gallery": "gallery",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    return getattr(importlib.import_module(home if "." in home else f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return __all__
