"""A run told on one self-contained HTML page."""

from tfcontrastive.report.curves import Chart, Curves, Line
from tfcontrastive.report.embedding_map import EmbeddingMap
from tfcontrastive.report.evaluation import evaluation_sections
from tfcontrastive.report.headline import Figure, Headline
from tfcontrastive.report.label_efficiency import label_efficiency
from tfcontrastive.report.neighbours import Neighbours
from tfcontrastive.report.notes import Notes
from tfcontrastive.report.page import Section, write_report
from tfcontrastive.report.table import Column, Table
from tfcontrastive.report.view_pairs import ViewPairs

__all__ = [
    "Chart",
    "Column",
    "Curves",
    "EmbeddingMap",
    "Figure",
    "Headline",
    "Line",
    "Neighbours",
    "Notes",
    "Section",
    "Table",
    "ViewPairs",
    "evaluation_sections",
    "label_efficiency",
    "write_report",
]
