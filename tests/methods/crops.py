"""A method of two global crops and three local ones, in one file, as a user would write it."""

import dataclasses

import tensorflow as tf

from tfcontrastive import augment, losses
from tfcontrastive.config import BaseConfig, setting
from tfcontrastive.encoders import MLP
from tfcontrastive.methods import ContrastiveModel

GLOBAL, LOCAL = 8, 4


@dataclasses.dataclass(frozen=True)
class CropsConfig(BaseConfig):
    proj_out_dim: int = setting(8, "Size of the projection.")
    num_global: int = setting(2, "Views of the whole size, which are the targets.")


class Crops(ContrastiveModel):
    """Every view's embedding should agree with that of each other global view."""

    Config = CropsConfig
    metric_names = ("views",)

    @classmethod
    def make_policy(cls, augmentation):
        local = augment.View(geometry=augment.Geometry(0.05, 0.14, size=LOCAL / GLOBAL))
        views = (augment.View(gray_probability=0.2),) * 2 + (local,) * 3
        return augment.Policy("two_global_three_local", augment.Geometry(min_area=0.14), views)

    def build_parts(self):
        self.projection_head = MLP((self.config.proj_out_dim,), **self.head_options, name="projection_head")
        self.projection_head.build((None, self.num_features))

    def views_loss(self, views, training):
        count = self.config.num_global
        features = [
            self.encode(self.encoder, tf.concat(group, axis=0), training) for group in (views[:count], views[count:])
        ]
        embeddings = tf.split(self.projection_head(tf.concat(features, axis=0), training=training), len(views))
        pairs = [(one, two) for one in range(len(views)) for two in range(count) if one != two]
        loss = tf.add_n([1.0 + losses.negative_cosine(embeddings[a], embeddings[b]) for a, b in pairs]) / len(pairs)
        return loss, {"views": tf.constant(float(len(views)))}, features[0]
