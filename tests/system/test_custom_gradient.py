"""That a custom gradient is TensorFlow's own, but for what is left of it."""

import gc
import weakref

import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from tfcontrastive.system.custom_gradient import custom_gradient

X = tf.constant([1.0, 2.0])


@custom_gradient
def tripled(x, y):
    """The sum, with a gradient that nobody would derive."""
    return (x + y, x), lambda upstream, _: (3 * upstream, None)


def gradient(function):
    with tf.GradientTape() as tape:
        tape.watch(X)
        results = function(X, X)
    return tape.gradient(results, X).numpy().tolist()


def test_the_gradient_is_the_given_one_traced_or_not():
    traced = tf.function(tripled)
    inside = tf.function(
        lambda x, y: tf.while_loop(lambda i, _: i < 2, lambda i, z: (i + 1, tripled(z, y)[0]), (0, x))[1]
    )
    assert gradient(tripled) == gradient(traced) == [3, 3]
    assert gradient(inside) == [9, 9]


def test_a_gradient_that_is_asked_for_later_is_there():
    traced = tf.function(tripled).get_concrete_function(X, X)
    gc.collect()
    assert gradient(traced) == [3, 3]


def test_a_graph_ends_with_its_function():
    before = set(gradient_registry.list())
    traced = tf.function(lambda x: tf.gradients(tripled(x, x)[0], x))
    traced(X)
    graph = weakref.ref(traced.get_concrete_function(X).graph)
    del traced
    gc.collect()
    assert graph() is None
    assert {name for name in set(gradient_registry.list()) - before if name.startswith("CustomGradient-")} == set()
