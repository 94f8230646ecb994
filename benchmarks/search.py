"""The search inside an exported model beside faiss' flat index, on made vectors: time, memory, and whether they agree.

    python benchmarks/search.py [--rows 1000000] [--dim 512] [--dtypes float32 float16 int8] [--batches 1 32] [--k 10]
    python benchmarks/search.py --approximate ivf hnsw [--rows 1000000] [--dim 512] [--efforts 16 64 256]

The network is a dense layer on sixteen pixels, so that the search is what is timed. Both take their turns in one process,
`--repeats` times; the median counts.

With --approximate: `ApproximateIndex` beside the exact search shard by shard, of vectors that lie as embeddings do: in a
thousand groups on a surface of 16 dimensions; of independent numbers with --noise. Queries are rows a little moved.
"""

import argparse
import functools
import statistics
import tempfile
import time

from machine import machine


def resident():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 2**20


def written(folder, vectors, dtype, model):
    from tfcontrastive.export import EmbeddingWriter, model_facts

    facts = {"model": model_facts(model)}
    writer = EmbeddingWriter(folder, vectors.shape[1], dtype=dtype, shard_rows=2**16, facts=facts)
    for row, vector in enumerate(vectors):
        writer.add(str(row), vector)
    writer.finish()
    return folder


def median(work, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def lie_as_embeddings(rows, dim, noise, shard=2**16):
    import numpy as np

    random = np.random.default_rng(0)
    groups, first, second = (random.standard_normal(shape, np.float32) for shape in ((1000, 16), (16, 64), (64, dim)))
    for start in range(0, rows, shard):
        count = min(shard, rows - start)
        if noise:
            yield random.standard_normal((count, dim), np.float32)
            continue
        points = groups[random.integers(0, len(groups), count)] + 0.7 * random.standard_normal((count, 16), np.float32)
        yield np.tanh(points @ first / 4) @ second


def approximate(args):
    import os

    import numpy as np

    from tfcontrastive import export

    batch = max(args.batches)
    with tempfile.TemporaryDirectory() as folder:
        writer = export.EmbeddingWriter(f"{folder}/vectors", args.dim, dtype="float16", shard_rows=2**16)
        queries = None
        for start, block in enumerate(lie_as_embeddings(args.rows, args.dim, args.noise)):
            if queries is None:
                queries = block[:batch] + 0.05 * block[batch : 2 * batch]
            for row, vector in enumerate(block, start * 2**16):
                writer.add(str(row), vector)
        writer.finish()
        files = export.EmbeddingFiles(f"{folder}/vectors")
        start = time.perf_counter()
        ids, _ = export.nearest(files, queries, k=args.k)
        print(f"{args.rows:,} x {args.dim}; exact, {batch} queries: {1000 * (time.perf_counter() - start):,.0f} ms")
        for kind in args.approximate:
            start = time.perf_counter()
            export.ApproximateIndex(files, kind)
            built, before = time.perf_counter() - start, resident()
            index = export.ApproximateIndex(files, kind)
            print(f"{kind}: built in {built:,.0f} s, {os.path.getsize(index.path) / 2**30:.2f} GiB")
            for effort in args.efforts:
                found, _ = index.nearest(queries, k=args.k, effort=effort)
                recall = np.mean([len(set(a) & set(b)) / args.k for a, b in zip(found, ids, strict=True)])
                asked = [functools.partial(index._search, unit(queries[:n]), args.k, effort) for n in args.batches]
                shown = ", ".join(
                    f"{median(ask, args.repeats):.1f} ms for {n}" for ask, n in zip(asked, args.batches, strict=True)
                )
                print(
                    f"  effort {effort:4d}: recall@{args.k} {recall:.3f}, {shown}, +{resident() - before:.2f} GiB",
                    flush=True,
                )


def unit(vectors):
    import numpy as np

    return np.float32(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float16", "int8"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--approximate", nargs="+", choices=["ivf", "hnsw"])
    parser.add_argument("--efforts", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--noise", action="store_true")
    args = parser.parse_args()
    if args.approximate:
        print(machine())
        approximate(args)
        return
    from tfcontrastive.system import onednn

    onednn.leave_to_tensorflow()  # as a server runs
    import faiss
    import keras
    import numpy as np
    import tensorflow as tf

    from tfcontrastive import export

    print(machine())
    vectors = np.random.default_rng(0).standard_normal((args.rows, args.dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    images = keras.Input((4, 4, 3))
    network = keras.Model(images, keras.layers.Dense(args.dim)(keras.layers.Flatten()(images)))
    queries = np.random.default_rng(1).random((max(args.batches), 4, 4, 3), np.float32)
    before = resident()
    flat = faiss.IndexFlatIP(args.dim)
    flat.add(vectors)
    print(f"{args.rows:,} x {args.dim}, k={args.k}; faiss' flat index takes {resident() - before:.2f} GiB")
    print(f"{'index':>10s}{'GiB':>8s}{'batch':>7s}{'ms':>9s}{'faiss ms':>10s}{'ratio':>7s}{'same first':>12s}")
    with tempfile.TemporaryDirectory() as folder:
        model = export.save_model(network, f"{folder}/model")
        for dtype in args.dtypes:
            index = written(f"{folder}/{dtype}", vectors, dtype, model)
            path = export.add_index(model, index, f"{folder}/with_{dtype}")
            before = resident()
            loaded = tf.saved_model.load(path)
            memory = resident() - before
            search, embed = loaded.signatures["nearest"], loaded.signatures["serving_default"]
            for batch in args.batches:
                some, k = tf.constant(queries[:batch]), tf.constant(args.k)
                points = embed(images=some)["embedding_l2"].numpy()
                found = search(images=some, k=k)["ids"].numpy()[:, 0].astype(int)
                same = np.mean(found == flat.search(points, args.k)[1][:, 0])
                ours = median(
                    lambda search=search, some=some, k=k: search(images=some, k=k)["ids"].numpy(), args.repeats
                )
                theirs = median(lambda points=points: flat.search(points, args.k), args.repeats)
                print(f"{dtype:>10s}{memory:8.2f}{batch:7d}{ours:9.1f}{theirs:10.1f}{ours / theirs:7.2f}{same:12.1%}")
            loaded = search = embed = None  # its memory goes before the next one's is measured


if __name__ == "__main__":
    main()
