"""What an encoder is worth: probes on its frozen features, and the shape of its embedding."""

from tfcontrastive.evaluate.embedding_map import map_2d
from tfcontrastive.evaluate.evaluator import Evaluator, FeatureEvaluator, evaluate, labelled_features
from tfcontrastive.evaluate.features import FeatureExtractor, extract_features
from tfcontrastive.evaluate.geometry import effective_rank, embedding_std
from tfcontrastive.evaluate.knn import KNN, knn, knn_scores
from tfcontrastive.evaluate.labelled_features import LabelledFeatures
from tfcontrastive.evaluate.linear import PENALTIES, LinearClassifier, fit_linear, linear, linear_scores
from tfcontrastive.evaluate.linear_evaluator import Linear
from tfcontrastive.evaluate.linear_sgd import RECIPES, SGDRecipe, linear_sgd, linear_sgd_on_images
from tfcontrastive.evaluate.metrics import (
    accuracies,
    bootstrap_interval,
    mean_per_class_accuracy,
    top_k_accuracy,
    top_k_hits,
)
from tfcontrastive.evaluate.neighbours import nearest_neighbours
from tfcontrastive.evaluate.projector import write_projector
from tfcontrastive.evaluate.seeds import evaluate_seeds, mean_and_deviation
from tfcontrastive.evaluate.thumbnails import displayable, sprite_sheet

__all__ = [
    "KNN",
    "PENALTIES",
    "Evaluator",
    "FeatureEvaluator",
    "FeatureExtractor",
    "LabelledFeatures",
    "Linear",
    "LinearClassifier",
    "RECIPES",
    "SGDRecipe",
    "accuracies",
    "bootstrap_interval",
    "displayable",
    "effective_rank",
    "embedding_std",
    "evaluate",
    "evaluate_seeds",
    "extract_features",
    "fit_linear",
    "knn",
    "knn_scores",
    "labelled_features",
    "linear",
    "linear_scores",
    "linear_sgd",
    "linear_sgd_on_images",
    "map_2d",
    "mean_and_deviation",
    "mean_per_class_accuracy",
    "nearest_neighbours",
    "sprite_sheet",
    "top_k_accuracy",
    "top_k_hits",
    "write_projector",
]
