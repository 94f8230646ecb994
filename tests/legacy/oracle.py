"""Runs on TensorFlow 2.15: tensorflow-addons' image operations on the same images."""

import pathlib
import sys

import numpy as np
import tensorflow_addons as tfa

folder = pathlib.Path(sys.argv[1])
given = np.load(folder / "given.npz")
images = given["images"]
results = {}
for i, sigma in enumerate(given["sigmas"]):
    results[f"blur{i}"] = tfa.image.gaussian_filter2d(images, [7, 7], float(sigma), padding="CONSTANT")
for i, (turns, saturation, value) in enumerate(given["colors"]):
    angle = float(turns * 2 * np.pi)
    results[f"color{i}"] = tfa.image.adjust_hsv_in_yiq(images, angle, float(saturation), float(value))
results["rotate"] = tfa.image.rotate(images, given["angles"], interpolation="bilinear")
for i, (height, width) in enumerate(given["sizes"]):
    results[f"cutout{i}"] = tfa.image.cutout(images, (int(height), int(width)), given["centers"])
np.savez(folder / "results.npz", **results)
