"""Contrastive self-supervised learning for TensorFlow and Keras.

Names are imported on first use, so that `import tfcontrastive` and the command line's help do not wait for TensorFlow.
"""

__version__ = "0.1.0"
