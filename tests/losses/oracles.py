"""Every loss again, as slow loops over float64 rows, and the table that the tests run through.

An oracle takes the inputs and a second copy of them, `fixed`, for the terms that stop the gradient, so that finite
differences of the inputs alone give the gradient.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from tfcontrastive import losses


def unit(x):
    return [row / max(math.sqrt(sum(v * v for v in row)), 1e-12) for row in x]


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def softmax(logits):
    highest = max(logits)
    weights = [math.exp(v - highest) for v in logits]
    return [w / sum(weights) for w in weights]


def cross_entropy(logits, label):
    return -math.log(softmax(logits)[label])


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def nt_xent(x, fixed, temperature=0.3, normalize=True):
    scale = unit if normalize else list
    z = scale(np.concatenate([x["z1"], x["z2"]]))
    memory = scale(fixed["memory"]) if "memory" in x else []
    total = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        logits = [dot(z[i], z[j]) / temperature for j in others] + [dot(z[i], m) / temperature for m in memory]
        total.append(cross_entropy(logits, others.index((i + len(z) // 2) % len(z))))
    return mean(total)


def info_nce(x, fixed, temperature=0.2):
    q, k, queue = unit(x["queries"]), unit(fixed["keys"]), unit(fixed["queue"])
    return mean(
        cross_entropy([dot(q[i], k[i]) / temperature] + [dot(q[i], u) / temperature for u in queue], 0)
        for i in range(len(q))
    )


def rows_against(q, k, temperature):
    return [[dot(a, b) / temperature for b in k] for a in q]


def symmetric_info_nce(x, fixed, temperature=0.5):
    total = 0.0
    for q, k in ((x["q1"], fixed["k2"]), (x["q2"], fixed["k1"])):
        logits = rows_against(unit(q), unit(k), temperature)
        total += mean(cross_entropy(row, i) for i, row in enumerate(logits))
    return 2 * temperature * total


def relic(x, fixed, temperature=0.4, alpha=0.7, stop_gradient=True, direction="forward"):
    def distributions(x):
        names = (("z1", "targets2"), ("z2", "targets1"))
        return [[softmax(row) for row in rows_against(unit(x[a]), unit(x[b]), temperature)] for a, b in names]

    p = distributions(x)
    q = distributions(fixed) if stop_gradient else p
    total = []
    for own, other in ((p[0], q[1]), (p[1], q[0])):
        for i in range(len(own)):
            a, b = (other[i], own[i]) if direction == "forward" else (own[i], other[i])
            divergence = sum(u * math.log(u / v) for u, v in zip(a, b, strict=True))
            total.append(-math.log(own[i][i]) + alpha * divergence)
    return mean(total)


def views_of(x, letter):
    """The inputs z1, z2, ... in order."""
    return [value for name, value in sorted(x.items()) if name[0] == letter and name[1:].isdigit()]


def nt_xent_views(x, fixed, temperature=0.3):
    """Every ordered pair of views of an image, against all views of the other images."""
    z = [unit(view) for view in views_of(x, "z")]
    count, memory = len(z), unit(fixed["memory"]) if "memory" in x else []
    total = []
    for a in range(count):
        for b in range(count):
            for i in range(len(z[a])):
                negatives = [dot(z[a][i], z[c][m]) for c in range(count) for m in range(len(z[c])) if m != i]
                negatives += [dot(z[a][i], key) for key in memory]
                if a != b:
                    logits = [dot(z[a][i], z[b][i]), *negatives]
                    total.append(cross_entropy([logit / temperature for logit in logits], 0))
    return mean(total)


def info_nce_views(x, fixed, temperature=0.5):
    q, k = ([unit(view) for view in views] for views in (views_of(x, "q"), views_of(fixed, "k")))
    total = []
    for a in range(len(q)):
        for b in range(len(k)):
            if a != b:
                total += [cross_entropy(row, i) for i, row in enumerate(rows_against(q[a], k[b], temperature))]
    return 4 * temperature * mean(total)


def relic_views(x, fixed, temperature=0.4, alpha=0.7, own_pairs=False):
    def distribution(x, a, b):
        return [softmax(row) for row in rows_against(unit(views_of(x, "z")[a]), unit(views_of(x, "t")[b]), temperature)]

    contrast, divergence, targets = [], [], len(views_of(x, "t"))
    for a in range(len(views_of(x, "z"))):
        for b in range(targets):
            if a != b or own_pairs:
                p = distribution(x, a, b)
                contrast += [-math.log(row[i]) for i, row in enumerate(p)]
            if a != b and a < targets:
                both = zip(distribution(fixed, b, a), p, strict=True)
                divergence += [sum(u * math.log(u / v) for u, v in zip(q, p, strict=True)) for q, p in both]
    return mean(contrast) + alpha * mean(divergence)


def barlow_twins_views(x, targets, off_diagonal_weight=0.05):
    z = views_of(x, "z")
    pairs = [(a, b) for a in range(len(z)) for b in range(a) if b < targets]  # of two small views: none
    return mean(barlow_twins({"z1": z[a], "z2": z[b]}, {}, off_diagonal_weight) for a, b in pairs)


def negative_cosine(x, fixed):
    return -mean(dot(p, z) for p, z in zip(unit(x["p"]), unit(fixed["z"]), strict=True))


def barlow_twins(x, fixed, off_diagonal_weight=0.05):
    def standardise(z):
        return (z - np.mean(z, axis=0)) / np.std(z, axis=0)

    z1, z2 = standardise(x["z1"]), standardise(x["z2"])
    total = 0.0
    for i in range(z1.shape[1]):
        for j in range(z2.shape[1]):
            c = mean(z1[b, i] * z2[b, j] for b in range(len(z1)))
            total += (1 - c) ** 2 if i == j else off_diagonal_weight * c**2
    return total


def sup_con(x, fixed, temperature=0.25):
    _, views, width = x["embeddings"].shape
    z = unit(x["embeddings"].reshape(-1, width))
    labels = [label if label >= 0 else -1 - image for image, label in enumerate(x["labels"])]
    labels = [label for label in labels for _ in range(views)]
    total = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        logits = [dot(z[i], z[j]) / temperature for j in others]
        positives = [n for n, j in enumerate(others) if labels[j] == labels[i]]
        total.append(mean(cross_entropy(logits, n) for n in positives) if positives else 0.0)
    return mean(total)


def distillation(x, fixed, temperature=0.6):
    total = []
    for student, teacher in zip(x["student_logits"], fixed["teacher_logits"], strict=True):
        p, q = softmax(teacher / temperature), softmax(student / temperature)
        total.append(-sum(a * math.log(b) for a, b in zip(p, q, strict=True)))
    return mean(total)


def similarity_distillation(x, fixed, temperature=0.3, teacher_temperature=0.2):
    students, teachers, queue = unit(x["student"]), unit(fixed["teacher"]), unit(fixed["queue"])
    total = []
    for student, teacher in zip(students, teachers, strict=True):
        others = [teacher, *queue]
        p = softmax([dot(teacher, u) / teacher_temperature for u in others])
        q = softmax([dot(student, u) / temperature for u in others])
        total.append(-sum(a * math.log(b) for a, b in zip(p, q, strict=True)))
    return mean(total)


def alignment(x, fixed, alpha=1.5):
    return mean(math.sqrt(dot(a - b, a - b)) ** alpha for a, b in zip(x["z1"], x["z2"], strict=True))


def uniformity(x, fixed, t=1.5):
    z = x["z"]
    pairs = [(i, j) for i in range(len(z)) for j in range(i)]
    return math.log(mean(math.exp(-t * dot(z[i] - z[j], z[i] - z[j])) for i, j in pairs))


def instance_softmax(x, fixed, temperature=0.3):
    logits = rows_against(unit(x["embeddings"]), unit(fixed["bank"]), temperature)
    return mean(cross_entropy(row, i) for row, i in zip(logits, x["indices"], strict=True))


def instance_nce(x, fixed, temperature=0.3, log_normalizer=1.2):
    v, f = unit(x["embeddings"]), unit(fixed["bank"])
    draws, size = x["noise"].shape[1], len(f)

    def h(i, b):
        p = math.exp(dot(f[i], v[b]) / temperature - log_normalizer)
        return p / (p + draws / size)

    return mean(
        -math.log(h(x["indices"][b], b)) - sum(math.log(1 - h(i, b)) for i in x["noise"][b]) for b in range(len(v))
    )


def dcl(x, fixed, temperature=0.3, sigma=None):
    return dcl_views(x, fixed, temperature, sigma)


def dcl_views(x, fixed, temperature=0.3, sigma=None):
    """Every ordered pair of views of an image, against all views of the other images alone."""
    z, total = [unit(view) for view in views_of(x, "z")], []
    pairs, images = [(a, b) for a in range(len(z)) for b in range(len(z)) if a != b], range(len(z[0]))
    for a, b in pairs:
        alike = [dot(z[a][i], z[b][i]) for i in images]
        weights = [1.0] * len(images)
        if sigma is not None:
            weights = [2 - len(images) * w for w in softmax([one / sigma for one in alike])]
        for i in images:
            others = [dot(z[a][i], other[m]) for other in z for m in images if m != i]
            pull = weights[i] * alike[i] / temperature
            total.append(math.log(sum(math.exp(one / temperature) for one in others)) - pull)
    return mean(total)


def swav(x, fixed, temperature=0.3):
    return mean(
        -sum(q * math.log(p) for q, p in zip(assigned, softmax(scores / temperature), strict=True))
        for scores, assigned in zip(x["scores"], fixed["assignments"], strict=True)
    )


def dino(x, fixed, student_temperature=0.3, teacher_temperature=0.2):
    teacher = [softmax((row - fixed["center"]) / teacher_temperature) for row in fixed["teacher"]]
    scores = {"scores": x["student"]}
    return swav(scores, {"assignments": teacher}, temperature=student_temperature)


def local_aggregation(x, fixed, temperature=0.3, num_neighbours=4):
    v, bank, total = unit(x["embeddings"]), unit(fixed["bank"]), []
    for row, i in zip(v, x["indices"], strict=True):
        p = [math.exp(dot(row, f) / temperature) for f in bank]
        background = sorted(range(len(p)), key=lambda j: -p[j])[:num_neighbours]
        close = [j for j in background if any(clusters[j] == clusters[i] for clusters in x["clusters"])]
        total.append(-math.log(sum(p[j] for j in close) / sum(p[j] for j in background) + 1e-7))
    return mean(total)


def koleo(x, fixed):
    z = np.array(unit(x["x"]))
    return mean(-math.log(min(np.linalg.norm(z[i] - z[j]) for j in range(len(z)) if j != i)) for i in range(len(z)))


def vicreg(x, fixed, invariance=25.0, variance=25.0, covariance=1.0):
    width = x["z1"].shape[1]
    total = invariance * np.mean((x["z1"] - x["z2"]) ** 2)
    for z in (x["z1"], x["z2"]):
        cov = np.cov(z.T)
        total += variance / 2 * mean(max(0, 1 - math.sqrt(cov[j, j] + 1e-4)) for j in range(width))
        total += covariance * sum(cov[i, j] ** 2 for i in range(width) for j in range(width) if i != j) / width
    return total


def total_coding_rate(x, fixed, epsilon_squared=0.2):
    z = np.array(unit(x["z"]))
    rows, width = z.shape
    return np.linalg.slogdet(np.eye(width) + width / (rows * epsilon_squared) * z.T @ z)[1] / 2


def nnclr(x, fixed, temperature=0.3):
    logits = rows_against(unit(fixed["neighbours"]), unit(x["p"]), temperature)
    return mean(cross_entropy(row, i) for i, row in enumerate(logits))


def deep_infomax(x, fixed, measure="jsd"):
    g, local = x["features"], x["local_features"]
    images, places = local.shape[:2]
    u = np.einsum("id,jld->ijl", g, local)
    others = [[j for j in range(images) if j != i] for i in range(images)]
    if measure == "jsd":
        negative = mean(
            math.log1p(math.exp(u[i, j, m])) for i in range(images) for j in others[i] for m in range(places)
        )
        positive = mean(math.log1p(math.exp(-u[i, i, m])) for i in range(images) for m in range(places))
        return negative + positive - 2 * math.log(2)
    return mean(cross_entropy([u[i, i, m], *u[i, others[i]].ravel()], 0) for i in range(images) for m in range(places))


def amdim(x, fixed, clip=2.0, score_penalty=0.1):
    scores = np.einsum("id,jld->ijl", x["features"], x["local_features"]) / math.sqrt(x["features"].shape[1])
    soft, images = clip * np.tanh(scores / clip), len(scores)
    contrast = mean(
        cross_entropy([own, *np.delete(soft[i], i, axis=0).ravel()], 0) for i in range(images) for own in soft[i, i]
    )
    return contrast + score_penalty * np.mean(scores**2)


def cpc(x, fixed, offset=1):
    z, p = x["targets"], x["predictions"]
    every = z.reshape(-1, z.shape[-1])
    images, height, width = z.shape[:3]
    return mean(
        cross_entropy(every @ p[b, r, c], (b * height + r + offset) * width + c)
        for b in range(images) for r in range(height - offset) for c in range(width)
    )  # fmt: skip


def instance_info_nce(x, fixed, temperature=0.3):
    v, f = unit(x["embeddings"]), unit(fixed["bank"])
    rows = [[dot(v[b], f[i]) / temperature for i in (own, *x["noise"][b])] for b, own in enumerate(x["indices"])]
    return mean(cross_entropy(row, 0) for row in rows)


def nce(x, fixed, temperature=0.3, log_normalizer=1.2, bank_size=9):
    v, total = unit(x["embeddings"]), []
    for i, own in enumerate(unit(fixed["positives"])):
        others, m = unit(fixed["negatives"][i]), len(fixed["negatives"][i])
        p = [math.exp(dot(v[i], f) / temperature - log_normalizer) for f in (own, *others)]
        h = [q / (q + m / bank_size) for q in p]
        total.append(-math.log(h[0]) - sum(math.log(1 - q) for q in h[1:]))
    return mean(total)


def clip(x, fixed, temperature=0.3):
    rows = rows_against(unit(x["images"]), unit(x["texts"]), temperature)
    both = (rows, [list(column) for column in zip(*rows, strict=True)])
    return mean(cross_entropy(row, i) for logits in both for i, row in enumerate(logits))


def siglip(x, fixed, scale=3.0, bias=-1.0):
    logits = np.array(rows_against(unit(x["images"]), unit(x["texts"]), 1.0)) * scale + bias
    signs = 2 * np.eye(len(logits)) - 1
    return mean(sum(math.log1p(math.exp(-u)) for u in row) for row in signs * logits)


def sim_cse(x, fixed, temperature=0.3, hard_negative_weight=0.0):
    logits = rows_against(unit(x["z1"]), unit(x["z2"]), temperature)
    if "hard_negatives" in x:
        hard = rows_against(unit(x["z1"]), unit(x["hard_negatives"]), temperature)
        for i in range(len(hard)):
            hard[i][i] += hard_negative_weight
        logits = [row + more for row, more in zip(logits, hard, strict=True)]
    return mean(cross_entropy(row, i) for i, row in enumerate(logits))


def dpr(x, fixed):
    passages = [*x["contexts"], *x.get("hard_negatives", [])]
    return mean(cross_entropy(row, i) for i, row in enumerate(rows_against(x["queries"], passages, 1.0)))


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss, its oracle and random inputs for it."""

    oracle: Callable[..., float]
    inputs: Callable[[np.random.RandomState], dict[str, np.ndarray]]
    learns: Sequence[str]  # the inputs that gradients flow to
    options: dict[str, object] = dataclasses.field(default_factory=dict)
    shared: Sequence[str] = ()  # the inputs that are the same on all replicas
    replicates: bool = True
    tolerance: float = 1e-12  # of the value
    call: Callable[..., object] | None = None  # the loss, where it does not take the inputs by name

    def loss(self, **inputs):
        if self.call is not None:
            return self.call(inputs, **self.options)
        return getattr(losses, self.oracle.__name__)(**inputs, **self.options)

    def value(self, inputs, fixed=None):
        return self.oracle(inputs, inputs if fixed is None else fixed, **self.options)


def rows(*names, batch=6, width=4):
    return lambda rng: {name: rng.randn(batch, width) for name in names}


def with_rows(base, **shapes):
    return lambda rng: {**base(rng), **{name: rng.randn(*shape) for name, shape in shapes.items()}}


def sup_con_inputs(views, labels):
    return lambda rng: {"embeddings": rng.randn(len(labels), views, 4), "labels": np.array(labels, np.int32)}


def bank_inputs(**shapes):
    def make(rng):
        integers = {name: rng.randint(0, 9, shape).astype(np.int32) for name, shape in shapes.items()}
        return {"embeddings": rng.randn(6, 4), "bank": rng.randn(9, 4), **integers}

    return make


VIEWS = rows("z1", "z2")
LOCALS = with_rows(rows("features"), local_features=(6, 3, 4))
GRIDS = with_rows(lambda rng: {}, predictions=(2, 3, 2, 4), targets=(2, 3, 2, 4))
RELIC = rows("z1", "z2", "targets1", "targets2")
RELIC_OPTIONS = {"temperature": 0.4, "alpha": 0.7}
CASES = {
    "nt_xent": Case(nt_xent, VIEWS, ("z1", "z2"), {"temperature": 0.3}),
    "nt_xent_raw": Case(nt_xent, VIEWS, ("z1", "z2"), {"temperature": 2.0, "normalize": False}),
    "nt_xent_memory": Case(
        nt_xent, with_rows(VIEWS, memory=(5, 4)), ("z1", "z2"), {"temperature": 0.3}, shared=("memory",)
    ),
    "nt_xent_three_views": Case(
        nt_xent_views,
        with_rows(rows("z1", "z2", "z3"), memory=(5, 4)),
        ("z1", "z2", "z3"),
        {"temperature": 0.3},
        shared=("memory",),
        call=lambda x, **options: losses.nt_xent_views(views_of(x, "z"), memory=x["memory"], **options),
    ),
    "info_nce_views": Case(
        info_nce_views,
        rows("q1", "q2", "q3", "q4", "k1", "k2"),
        ("q1", "q2", "q3", "q4"),
        {"temperature": 0.5},
        call=lambda x, **options: losses.info_nce_views(views_of(x, "q"), views_of(x, "k"), **options),
    ),
    "relic_views": Case(
        relic_views,
        rows("z1", "z2", "z3", "z4", "t1", "t2"),
        ("z1", "z2", "z3", "z4", "t1", "t2"),
        RELIC_OPTIONS,
        call=lambda x, **options: losses.relic_views(views_of(x, "z"), views_of(x, "t"), **options),
    ),
    "relic_views_own_pairs": Case(
        relic_views,
        rows("z1", "z2", "z3", "t1", "t2"),
        ("z1", "z2", "z3", "t1", "t2"),
        {**RELIC_OPTIONS, "own_pairs": True},
        call=lambda x, **options: losses.relic_views(views_of(x, "z"), views_of(x, "t"), **options),
    ),
    "info_nce": Case(
        info_nce, with_rows(rows("queries", "keys"), queue=(7, 4)), ("queries",), {"temperature": 0.2}, ("queue",)
    ),
    "symmetric_info_nce": Case(symmetric_info_nce, rows("q1", "q2", "k1", "k2"), ("q1", "q2"), {"temperature": 0.5}),
    "relic": Case(relic, RELIC, ("z1", "z2", "targets1", "targets2"), RELIC_OPTIONS),
    "relic_reverse": Case(relic, RELIC, ("z1", "targets1"), {**RELIC_OPTIONS, "direction": "reverse"}),
    "relic_full_gradient": Case(relic, RELIC, ("z2", "targets2"), {**RELIC_OPTIONS, "stop_gradient": False}),
    "negative_cosine": Case(negative_cosine, rows("p", "z"), ("p",)),
    "barlow_twins": Case(barlow_twins, VIEWS, ("z1", "z2"), {"off_diagonal_weight": 0.05}),
    "sup_con": Case(sup_con, sup_con_inputs(3, [0, 2, 0, 1, 2, 0]), ("embeddings",), {"temperature": 0.25}),
    "sup_con_unlabelled": Case(
        sup_con, sup_con_inputs(2, [5, -1, -1, 5, -7, 1 << 20]), ("embeddings",), {"temperature": 0.25}
    ),
    "sup_con_one_view": Case(sup_con, sup_con_inputs(1, [0, 1, 0, 3, 3, 2]), ("embeddings",), {"temperature": 0.25}),
    "distillation": Case(
        distillation, rows("student_logits", "teacher_logits"), ("student_logits",), {"temperature": 0.6}
    ),
    "similarity_distillation": Case(
        similarity_distillation,
        with_rows(rows("student", "teacher"), queue=(7, 4)),
        ("student",),
        {"temperature": 0.3, "teacher_temperature": 0.2},
        ("queue",),
    ),
    "alignment": Case(alignment, VIEWS, ("z1", "z2"), {"alpha": 1.5}),
    "alignment_squared": Case(alignment, VIEWS, ("z1", "z2"), {"alpha": 2}),
    "uniformity": Case(uniformity, rows("z"), ("z",), {"t": 1.5}, replicates=False),
    "instance_softmax": Case(
        instance_softmax, bank_inputs(indices=6), ("embeddings",), {"temperature": 0.3}, ("bank",)
    ),
    "instance_nce": Case(
        instance_nce,
        bank_inputs(indices=6, noise=(6, 5)),
        ("embeddings",),
        {"temperature": 0.3, "log_normalizer": 1.2},
        ("bank",),
    ),
    "instance_info_nce": Case(
        instance_info_nce, bank_inputs(indices=6, noise=(6, 5)), ("embeddings",), {"temperature": 0.3}, ("bank",)
    ),
    "dcl": Case(dcl, VIEWS, ("z1", "z2"), {"temperature": 0.3}),
    "dclw": Case(dcl, VIEWS, ("z1", "z2"), {"temperature": 0.3, "sigma": 0.5}),
    "dcl_three_views": Case(
        dcl_views,
        rows("z1", "z2", "z3"),
        ("z1", "z2", "z3"),
        {"temperature": 0.3, "sigma": 0.5},
        call=lambda x, **options: losses.dcl_views(views_of(x, "z"), **options),
    ),
    "swav": Case(swav, rows("scores", "assignments"), ("scores",), {"temperature": 0.3}),
    "dino": Case(
        dino,
        with_rows(rows("student", "teacher"), center=(4,)),
        ("student",),
        {"student_temperature": 0.3, "teacher_temperature": 0.2},
        ("center",),
    ),
    "koleo": Case(koleo, rows("x"), ("x",), tolerance=1e-6),  # what the code adds to distances is not in the loop
    "vicreg": Case(vicreg, VIEWS, ("z1", "z2"), {"covariance": 2.0}),
    "local_aggregation": Case(
        local_aggregation,
        bank_inputs(indices=6, clusters=(3, 9)),
        ("embeddings",),
        {"temperature": 0.3, "num_neighbours": 4},
        ("bank", "clusters"),
    ),
    "total_coding_rate": Case(total_coding_rate, rows("z"), ("z",), {"epsilon_squared": 0.3}),
    "nnclr": Case(nnclr, rows("neighbours", "p"), ("p",), {"temperature": 0.3}),
    "deep_infomax": Case(deep_infomax, LOCALS, ("features", "local_features")),
    "deep_infomax_info_nce": Case(deep_infomax, LOCALS, ("features", "local_features"), {"measure": "info_nce"}),
    "amdim": Case(amdim, LOCALS, ("features", "local_features"), {"clip": 2.0, "score_penalty": 0.1}),
    "cpc": Case(cpc, GRIDS, ("predictions", "targets"), {"offset": 1}),
    "nce": Case(
        nce,
        with_rows(rows("embeddings", "positives"), negatives=(6, 3, 4)),
        ("embeddings",),
        {"temperature": 0.3, "log_normalizer": 1.2, "bank_size": 9},
    ),
    "clip": Case(clip, rows("images", "texts"), ("images", "texts"), {"temperature": 0.3}),
    "siglip": Case(siglip, rows("images", "texts"), ("images", "texts"), {"scale": 3.0, "bias": -1.0}),
    "sim_cse": Case(sim_cse, VIEWS, ("z1", "z2"), {"temperature": 0.3}),
    "sim_cse_hard": Case(
        sim_cse,
        rows("z1", "z2", "hard_negatives"),
        ("z1", "z2", "hard_negatives"),
        {"temperature": 0.3, "hard_negative_weight": 0.5},
    ),
    "dpr": Case(
        dpr,
        with_rows(rows("queries", "contexts"), hard_negatives=(4, 4)),
        ("queries", "contexts", "hard_negatives"),
    ),
}


def numeric_gradient(case: Case, inputs: dict[str, np.ndarray], name: str, step: float = 1e-5) -> np.ndarray:
    """Central differences of the oracle by one of its inputs."""
    gradient = np.zeros_like(inputs[name])
    for index in np.ndindex(gradient.shape):
        sides = []
        for sign in (1, -1):
            moved = inputs[name].copy()
            moved[index] += sign * step
            sides.append(case.value({**inputs, name: moved}, fixed=inputs))
        gradient[index] = (sides[0] - sides[1]) / (2 * step)
    return gradient
