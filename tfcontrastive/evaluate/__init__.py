"""What an encoder is worth: probes on its frozen features, and the shape of its embedding."""

from tfcontrastive.evaluate.baselines import RawPixels, settle_statistics, settle_whitening
from tfcontrastive.evaluate.class_map import mapped_classes, read_class_map
from tfcontrastive.evaluate.content_style import ContentStyle
from tfcontrastive.evaluate.corruptions import CORRUPTIONS, corrupt
from tfcontrastive.evaluate.embedding_map import map_2d
from tfcontrastive.evaluate.evaluator import Evaluator, FeatureEvaluator, evaluate, labelled_features
from tfcontrastive.evaluate.features import FeatureExtractor, extract_features, taken_by
from tfcontrastive.evaluate.geometry import FeatureGeometry
from tfcontrastive.evaluate.geometry_metrics import class_separation, effective_rank, lidar
from tfcontrastive.evaluate.graded_pairs import graded_pairs, spearman
from tfcontrastive.evaluate.images_of import images_of
from tfcontrastive.evaluate.intervals import bootstrap_interval, share_interval
from tfcontrastive.evaluate.invariances import Invariances
from tfcontrastive.evaluate.knn import KNN, fair_k, knn, knn_scores
from tfcontrastive.evaluate.labelled_features import LabelledFeatures
from tfcontrastive.evaluate.linear import Linear
from tfcontrastive.evaluate.linear_lbfgs import PENALTIES, LinearClassifier, fit_linear, linear, linear_scores
from tfcontrastive.evaluate.linear_sgd import RECIPES, SGDRecipe, linear_sgd, linear_sgd_on_images
from tfcontrastive.evaluate.metrics import accuracies, mean_per_class_accuracy, top_k_accuracy, top_k_hits
from tfcontrastive.evaluate.neighbours import nearest_neighbours
from tfcontrastive.evaluate.ood import OutOfDistribution
from tfcontrastive.evaluate.predictions import Predictions
from tfcontrastive.evaluate.projector import write_projector
from tfcontrastive.evaluate.retrieval import retrieval
from tfcontrastive.evaluate.robustness import Robustness
from tfcontrastive.evaluate.seeds import evaluate_seeds, mean_and_deviation
from tfcontrastive.evaluate.thumbnails import displayable, sprite_sheet
from tfcontrastive.evaluate.zero_shot import class_vectors, zero_shot, zero_shot_scores

__all__ = [
    "ContentStyle",
    "Invariances",
    "CORRUPTIONS",
    "FeatureGeometry",
    "OutOfDistribution",
    "Predictions",
    "RawPixels",
    "Robustness",
    "class_separation",
    "class_vectors",
    "corrupt",
    "mapped_classes",
    "read_class_map",
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
    "evaluate",
    "evaluate_seeds",
    "extract_features",
    "fair_k",
    "fit_linear",
    "graded_pairs",
    "images_of",
    "knn",
    "knn_scores",
    "labelled_features",
    "linear",
    "lidar",
    "linear_scores",
    "linear_sgd",
    "linear_sgd_on_images",
    "map_2d",
    "mean_and_deviation",
    "mean_per_class_accuracy",
    "nearest_neighbours",
    "retrieval",
    "settle_statistics",
    "settle_whitening",
    "share_interval",
    "spearman",
    "sprite_sheet",
    "taken_by",
    "top_k_accuracy",
    "top_k_hits",
    "write_projector",
    "zero_shot",
    "zero_shot_scores",
]
