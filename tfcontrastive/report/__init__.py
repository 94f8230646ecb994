"""A run told on one self-contained HTML page."""

from tfcontrastive.report.classification import (
    ConfusionMatrix,
    PerClass,
    classification_sections,
    confident_mistakes,
    surest_mistakes,
)
from tfcontrastive.report.comparison import Bar, Comparison
from tfcontrastive.report.curves import Chart, Curves, Line
from tfcontrastive.report.details import Details
from tfcontrastive.report.embedding_map import EmbeddingMap
from tfcontrastive.report.evaluation import evaluation_sections
from tfcontrastive.report.gallery import Gallery, PictureRows
from tfcontrastive.report.headline import Figure, Headline, against
from tfcontrastive.report.label_efficiency import label_efficiency
from tfcontrastive.report.neighbours import Neighbours
from tfcontrastive.report.notes import Notes
from tfcontrastive.report.page import Section, in_a_notebook, write_report
from tfcontrastive.report.pictures import Picture
from tfcontrastive.report.provenance import Provenance
from tfcontrastive.report.table import Column, Table
from tfcontrastive.report.view_pairs import ViewPairs

__all__ = [
    "Bar",
    "Chart",
    "Column",
    "Comparison",
    "ConfusionMatrix",
    "Curves",
    "Details",
    "EmbeddingMap",
    "Figure",
    "Gallery",
    "Headline",
    "Line",
    "Neighbours",
    "Notes",
    "PerClass",
    "Picture",
    "PictureRows",
    "Provenance",
    "Section",
    "Table",
    "ViewPairs",
    "against",
    "classification_sections",
    "confident_mistakes",
    "evaluation_sections",
    "in_a_notebook",
    "label_efficiency",
    "surest_mistakes",
    "write_report",
]
