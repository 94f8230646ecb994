"""What two towers learn of WordNet's glosses: finding a definition by the words that it defines, and by an example of them.

    apt-get install wordnet-base
    python benchmarks/text_towers.py                       # every row: about 6 minutes of 2 cores
    python benchmarks/text_towers.py --rows=clip --seed=1

A pair is one sense of WordNet 3.0: the query its words and the examples of their use, the key its definition. 2,000 senses
that no row has seen are held out; each row tells how often the definition of one is among the 1, 10 and 100 of 2,000 that
are nearest to its query, and the other way round, beside chance. All rows are one transformer (64 wide, 1 block, mean of
tokens) from random weights, for as many steps of as many pairs.

tf-idf     cosine of bags of words, with the words and frequencies of the senses to train on
untrained  the network's first weights
sim_cse    unsupervised: each text, query or definition, twice, told from the others of its batch; dropout is the difference
clip       supervised: queries and definitions, in both directions, learned temperature
hard       supervised SimCSE: as clip in one direction, and the definition of another sense of the same kind as hard negative
"""

import argparse
import pathlib
import random
import re
import time

from machine import machine

ROWS = ("tf-idf", "untrained", "sim_cse", "clip", "hard")
SIZES = {"width": 64, "depth": 1, "sequence_length": 16}


def read(folder: pathlib.Path) -> list[tuple[str, str, str]]:
    """(query, definition, kind) of each sense that has both; the kind is the first sense above it, or its own number."""
    found = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):
                continue  # the licence
            facts, _, gloss = line.partition(" | ")
            fields = facts.split()
            count = int(fields[3], 16)
            words = [re.sub(r"\(.*\)", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
            above = re.search(r" @i? (\d{8}) (\w)", facts)
            kind = "".join(above.groups()) if above else fields[0] + part
            examples = re.findall(r'"([^"]*)"', gloss)
            definition = re.sub(r'"[^"]*"?', "", gloss).strip(" ;\t")
            if definition:
                found.append((", ".join(words) + "".join(f"; {example}" for example in examples), definition, kind))
    return found


def negatives(senses, rng):
    """For each sense the definition of another one of its kind, or of any where it is alone."""
    kinds: dict[str, list[int]] = {}
    for place, (_, _, kind) in enumerate(senses):
        kinds.setdefault(kind, []).append(place)
    chosen = []
    for place, (_, _, kind) in enumerate(senses):
        others = kinds[kind] if len(kinds[kind]) > 1 else range(len(senses))
        other = place
        while other == place:
            other = others[rng.randrange(len(others))]
        chosen.append(senses[other][1])
    return chosen


def told(name, queries, keys, seconds=0.0, **options):
    from tfcontrastive.evaluate import retrieval

    found = retrieval(queries, keys, k=[1, 10, 100], **options)
    ways = ("query_to_key", "key_to_query")
    recalls = [" / ".join(f"{100 * found[f'{way}_recall_{k}']:.1f}" for k in (1, 10, 100)) for way in ways]
    ranks = " / ".join(f"{found[f'{way}_rank']:.0f}" for way in ways)
    print(f"| {name} | {recalls[0]} | {recalls[1]} | {ranks} | {seconds:.0f} |", flush=True)


def tf_idf(train, queries, keys):
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    bags = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    bags.fit([text for pair in train for text in pair[:2]])
    sides = [bags.transform(texts) for texts in (queries, keys)]  # of unit length
    both = np.flatnonzero(np.ravel(sides[0].sum(axis=0)) * np.ravel(sides[1].sum(axis=0)))
    told("tf-idf", *[side[:, both].toarray() for side in sides], normalize=False)


def learn(name, train, queries, keys, args):
    import keras
    import tensorflow as tf

    import tfcontrastive as tfc

    keras.utils.set_random_seed(args.seed)
    rng = random.Random(args.seed)
    texts = [text for pair in train for text in pair[:2]]
    tower = tfc.encoders.TextEncoder.of_texts(texts, vocabulary_size=args.words, **SIZES)
    loss = {"hard": "sim_cse", "untrained": "sim_cse"}.get(name, name)
    settings = {"clip": {}, "sim_cse": {"embed_head": name == "hard"}}[loss]
    model = tfc.TwoTower(tower, config=tfc.TwoTowerConfig(loss, **settings), seed=args.seed)
    if name == "sim_cse":
        data = {"query": texts}
    else:
        data = {"query": [pair[0] for pair in train], "key": [pair[1] for pair in train]}
    if name == "hard":
        data["hard_negative"] = negatives(train, rng)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, args.steps, warmup_target=args.rate, warmup_steps=args.steps // 20
    )
    model.compile(optimizer=tfc.optimizers.build("adamw", rate, weight_decay=1e-4))
    batches = tf.data.Dataset.from_tensor_slices(data).shuffle(len(texts), seed=args.seed).repeat()
    start = time.perf_counter()
    if name != "untrained":
        model.fit(batches.batch(args.batch, drop_remainder=True), steps_per_epoch=args.steps, verbose=0)
    seconds = time.perf_counter() - start
    told(name, model.query_embeddings(queries), model.key_embeddings(keys), seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=pathlib.Path, default="/usr/share/wordnet", help="where data.noun, ... lie")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--words", type=int, default=20_000, help="of the vocabulary")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    senses = read(args.wordnet)
    random.Random(0).shuffle(senses)
    held_out, train = senses[:2000], senses[2000:]
    queries, keys = ([pair[side] for pair in held_out] for side in (0, 1))
    print(
        f"{machine()}; {len(train):,} senses to train on, {args.steps} steps of {args.batch} pairs, seed {args.seed}\n"
    )
    print("| | definition by words, recall at 1 / 10 / 100 | words by definition | median ranks | seconds |")
    print("|---|---|---|---|---|")
    print(f"| chance | {100 / 2000:g} / {1000 / 2000:g} / {10000 / 2000:g} | the same | 1000 | |")
    for name in args.rows.split(","):
        tf_idf(train, queries, keys) if name == "tf-idf" else learn(name, train, queries, keys, args)


if __name__ == "__main__":
    main()
