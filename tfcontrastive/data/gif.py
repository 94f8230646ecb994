"""GIF files as TensorFlow's decoder should get them: one frame, and its transparent colour filled."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

_BLOCKS = 2**16
_CONTROL = 0xF9  # label of the extension that names the transparent colour


class GifFrame(NamedTuple):
    """The first frame of a GIF.

    Attributes:
        data: the file, cut after the frame. Of a frame with a transparent colour, `filled` makes a visible one.
        height, width: of the frame in pixels, 0 where there is none.
        transparent: whether it has a transparent colour.
        color_at, flags_at: where in the file that colour, 3 bytes, and the byte that names it are.
    """

    data: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    transparent: tf.Tensor
    color_at: tf.Tensor
    flags_at: tf.Tensor

    def filled(self, red: int, green: int, blue: int) -> tf.Tensor:
        """The file with another colour in place of the transparent one."""
        last = tf.strings.length(self.data)

        def part(start, stop):
            start, stop = tf.minimum(start, last), tf.minimum(stop, last)
            return tf.strings.substr(self.data, start, stop - start)

        color = bytes((red, green, blue))
        after = tf.maximum(self.flags_at, self.color_at)  # a palette of the frame's own follows the flags
        first_is_color = self.color_at < self.flags_at
        one, two = tf.where(first_is_color, color, b"\0"), tf.where(first_is_color, b"\0", color)
        first = tf.minimum(self.flags_at, self.color_at)
        return tf.strings.join(
            [
                part(0, first),
                one,
                part(first + tf.strings.length(one), after),
                two,
                part(after + tf.strings.length(two), last),
            ]
        )


def first_frame(data: tf.Tensor) -> GifFrame:
    """Cuts a GIF after its first frame: the decoder would unpack all of them, however large, only to drop them."""
    content = tf.cast(tf.io.decode_raw(tf.strings.join([data, b"\0"]), tf.uint8), tf.int32)
    last = tf.strings.length(data)

    def byte(position):
        return content[tf.minimum(position, last)]  # one zero past the end ends every block

    def color_table(flags):
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)

    def after_blocks(position):
        return 1 + tf.while_loop(
            lambda p: byte(p) > 0, lambda p: [p + 1 + byte(p)], [position], maximum_iterations=_BLOCKS
        )[0]  # fmt: skip

    start = 13 + color_table(byte(10))
    frame, control = tf.while_loop(
        lambda p, _: byte(p) == 0x21,
        lambda p, control: [after_blocks(p + 2), tf.where((byte(p + 1) == _CONTROL) & (byte(p + 2) == 4), p, control)],
        [start, tf.constant(-1)],
        maximum_iterations=_BLOCKS,
    )
    own = color_table(byte(frame + 9))
    end = after_blocks(frame + 11 + own)
    is_frame = tf.cast(byte(frame) == 0x2C, tf.int32)
    width = is_frame * (byte(frame + 5) + 256 * byte(frame + 6))
    height = is_frame * (byte(frame + 7) + 256 * byte(frame + 8))
    flags_at = tf.maximum(control, 0) + 3
    number = byte(tf.maximum(control, 0) + 6)
    table, size = tf.where(own > 0, frame + 10, 13), tf.where(own > 0, own, start - 13)
    transparent = (control >= 0) & (byte(flags_at) % 2 == 1) & (3 * number < size) & (is_frame == 1)
    cut = tf.strings.join([tf.strings.substr(data, 0, end), b";"])
    return GifFrame(cut, height, width, transparent, table + 3 * number, flags_at)
