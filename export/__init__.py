"""From a trained encoder to what others use: one SavedModel, embedding files, search and serving.

Names are imported on first use: a REST client needs no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` finds, for programs that read types
    from tfcontrastive.export.approximate import ApproximateIndex as ApproximateIndex
    from tfcontrastive.export.benchmark import benchmark_export as benchmark_export
    from tfcontrastive.export.client import EmbeddingClient as EmbeddingClient
    from tfcontrastive.export.convert import to_onnx as to_onnx
    from tfcontrastive.export.convert import to_tflite as to_tflite
    from tfcontrastive.export.cpp_session import CppError as CppError
    from tfcontrastive.export.cpp_session import CppSession as CppSession
    from tfcontrastive.export.digest import model_digest as model_digest
    from tfcontrastive.export.embed import embed_files as embed_files
    from tfcontrastive.export.embed import embed_images as embed_images
    from tfcontrastive.export.embed import model_facts as model_facts
    from tfcontrastive.export.embedding_files import EmbeddingFiles as EmbeddingFiles
    from tfcontrastive.export.embedding_writer import EmbeddingWriter as EmbeddingWriter
    from tfcontrastive.export.fold import fold_batch_norm as fold_batch_norm
    from tfcontrastive.export.gallery import write_duplicates as write_duplicates
    from tfcontrastive.export.gallery import write_gallery as write_gallery
    from tfcontrastive.export.image_bytes import decode_images as decode_images
    from tfcontrastive.export.item_shards import ItemsShard as ItemsShard
    from tfcontrastive.export.items import dataset_items as dataset_items
    from tfcontrastive.export.items import encoded_items as encoded_items
    from tfcontrastive.export.items import folder_items as folder_items
    from tfcontrastive.export.merge import merge_embeddings as merge_embeddings
    from tfcontrastive.export.model_card import read_card as read_card
    from tfcontrastive.export.nearest_answer import Nearest as Nearest
    from tfcontrastive.export.postgres_set import PostgresSet as PostgresSet
    from tfcontrastive.export.postgres_writer import PostgresWriter as PostgresWriter
    from tfcontrastive.export.saved_index import SavedIndex as SavedIndex
    from tfcontrastive.export.saved_model import save_model as save_model
    from tfcontrastive.export.saved_model import save_once as save_once
    from tfcontrastive.export.search import near_duplicates as near_duplicates
    from tfcontrastive.export.search import nearest as nearest
    from tfcontrastive.export.serve_check import check_export as check_export
    from tfcontrastive.export.serving_error import ServingError as ServingError
    from tfcontrastive.export.towers import save_towers as save_towers
    from tfcontrastive.export.with_index import add_index as add_index
    from tfcontrastive.pretrained.trained import latest_version as latest_version
    from tfcontrastive.runs.load_run import load_run as load_run

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
    "benchmark_export": "benchmark",
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    return getattr(importlib.import_module(home if "." in home else f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return __all__
