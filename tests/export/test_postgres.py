"""A set of embeddings in a real PostgreSQL with pgvector, which this module starts and ends."""

import contextlib
import re

import numpy as np
import psycopg
import pytest

from tests.export.fake_encoder import FakeEncoder
from tests.export.postgres import PostgresServer
from tfcontrastive import export
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.export import EmbeddingWriter, ItemsShard, PostgresSet, PostgresWriter, embed, embed_images, nearest
from tfcontrastive.system.names import unescaped

ITEMS = 23
FACTS = {"model": {"name": "a", "digest": "d" * 32}}


@pytest.fixture(scope="module")
def server():
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def url(server):
    """Of the database, empty."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server.url


@pytest.fixture
def encoder(monkeypatch):
    monkeypatch.setattr(embed, "_Encoder", FakeEncoder)
    monkeypatch.setattr(embed, "latest_version", str)


def items(start):
    for i in range(start, ITEMS):
        yield f"{i} é\udce9\n'.png", str(i).encode(), ["cat", None, "dog"][i % 3]


items.labels, items.fingerprint = "name", "23 files"


def rows_of(url, what="*", table="embeddings"):
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT {what} FROM {table} ORDER BY position").fetchall()


def write(url, vectors, **options):
    with contextlib.closing(PostgresWriter(url, vectors.shape[1], facts=FACTS, **options)) as writer:
        for row, vector in list(enumerate(vectors))[writer.position :]:
            writer.add(f"{row}.png", vector)
        writer.finish()


def test_a_table_holds_what_a_set_of_files_does(url, encoder, tmp_path):
    done = embed_images("model", items, url, batch_size=4, shard_rows=5)
    expected = embed_images("model", items, tmp_path / "set", batch_size=4)
    files = export.EmbeddingFiles(tmp_path / "set")
    assert (done.rows, done.skipped) == (expected.rows, expected.skipped)
    rows = rows_of(url, "position, id, label, model, vector::text")
    assert [unescaped(row[1]) for row in rows] == files.ids
    assert [row[2] for row in rows] == files.labels
    assert {row[3] for row in rows} == {FakeEncoder.facts["digest"]}
    np.testing.assert_array_equal([np.float32(row[4].strip("[]").split(",")) for row in rows], files.load())
    assert [row[0] for row in rows_of(url, "position", "embeddings_skipped")] == [3, 10, 17]
    with psycopg.connect(url) as connection:
        ((index,),) = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'embeddings_vector_idx'")
    assert "USING hnsw (vector vector_cosine_ops)" in index
    found = PostgresSet(url)
    assert found.complete
    assert found.known([files.ids[0], "none"]) == {files.ids[0]}
    assert embed_images("model", items, url).images_per_second == 0, "nothing is done again"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_it_finds_what_numpy_finds(url, tmp_path, dtype):
    vectors = np.random.RandomState(0).randn(300, 8).astype(np.float32)
    vectors[7] = 0
    write(url, vectors, dtype=dtype, table="of_mine")
    writer = EmbeddingWriter(tmp_path / "set", 8, dtype=dtype)
    for row, vector in enumerate(vectors):
        writer.add(f"{row}.png", vector)
    writer.finish()
    queries, own = vectors[[1, 8]], ["1.png", None]
    ids, similarities = nearest(tmp_path / "set", queries, k=5, backend="numpy", exclude=own)
    with psycopg.connect(url) as connection:
        connection.execute("ANALYZE of_mine")
    held = PostgresSet(url, "of_mine")
    for approximate in (False, True):
        found, values = held.nearest(queries, k=5, approximate=approximate, effort=200, exclude=own)
        assert found == ids
        np.testing.assert_allclose(values, similarities, atol=1e-3 if dtype == "float16" else 1e-6)
    everything, values = held.nearest(queries, k=300, approximate=True)
    assert len(set(everything[0])) == 300, "what the index leaves out is compared"
    assert values[0][everything[0].index("7.png")] == 0


def test_of_equals_the_first_come_first(url):
    write(url, np.float32([[0, 1], [1, 0], [0, 2], [2, 0], [0, 0], [-1, 0]]))
    with contextlib.closing(PostgresSet(url)) as held:
        ids, _ = held.nearest(np.array([[1, 0]]), k=6)
    assert ids == [["1.png", "3.png", "0.png", "2.png", "4.png", "5.png"]]


def test_a_database_that_goes_away_keeps_what_is_committed(url, server, encoder):
    def stop(rows, bad):
        if rows >= 10:
            server.stop()

    with pytest.raises(
        InputError, match=r"a database that answers.*the table embeddings.*start the same command again"
    ) as told:
        embed_images("model", items, url, batch_size=4, shard_rows=4, progress=stop)
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match="a database that answers"):
        PostgresSet(url)
    server.start()
    before = len(rows_of(url))
    assert 0 < before < 20
    assert not PostgresSet(url).complete
    read = []

    def counted(start):
        for item in items(start):
            read.append(item[0])
            yield item

    counted.labels, counted.fingerprint = items.labels, items.fingerprint
    assert embed_images("model", counted, url, batch_size=4, shard_rows=4).rows == 20
    assert len(read) < ITEMS
    assert [row[0] for row in rows_of(url, "position")] == [i for i in range(ITEMS) if i % 7 != 3]


def test_a_database_that_goes_away_while_it_is_searched(url, server):
    write(url, np.eye(3, dtype=np.float32))
    with contextlib.closing(PostgresSet(url)) as held:
        server.stop()
        try:
            with pytest.raises(InputError, match="`index` must be a database that answers") as told:
                held.nearest(np.eye(3), k=1)
        finally:
            server.start()
    assert "\n" not in str(told.value)
    assert len(rows_of(url)) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dim": 4}, "dim 3, now 4"),
        ({"facts": {**FakeEncoder.facts, "digest": "e" * 32}}, "with model .*d{32}.*now .*e{32}"),
    ],
    ids=["width", "model"],
)
def test_embed_into_a_table_of_others_ends_with_code_2_and_leaves_it(
    url, encoder, tmp_path, monkeypatch, capsys, changed, message
):
    monkeypatch.setattr(export, "latest_version", str, raising=False)
    (tmp_path / "0.png").write_text("0")
    given = ["embed", "--saved_model=model", f"--dataset=folder:{tmp_path}", f"--output={url}"]
    assert main(given) == 0
    before = rows_of(url)
    for name, value in changed.items():
        monkeypatch.setattr(FakeEncoder, name, value)
    capsys.readouterr()
    assert main(given) == 2
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: ")]
    assert re.search(f"made alike.*{message}", told), told
    assert rows_of(url) == before != []


def another_model(url):
    write(url, np.eye(3, dtype=np.float32))
    writer = PostgresWriter(url, 3, facts={"model": {"digest": "e" * 32}})
    writer.close()


def two_writers(url):
    with contextlib.closing(PostgresWriter(url, 3, facts=FACTS)):
        PostgresWriter(url, 3, facts=FACTS)


def with_a_gap(url):
    write(url, np.eye(3, dtype=np.float32))
    sql(url, "DELETE FROM embeddings WHERE position = 1")
    write(url, np.eye(3, dtype=np.float32))


def one_id_twice(url):
    with contextlib.closing(PostgresWriter(url, 3, facts=FACTS)) as writer:
        for _ in range(2):
            writer.add("a", np.ones(3))
        writer.finish()


def sql(url, statement):
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def without_rights(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    try:
        write(url.replace("me@", "guest@"), np.eye(3, dtype=np.float32))
    finally:
        sql(url, "DROP ROLE guest")


FAULTS = {
    "another model": (another_model, r"made alike.*with model .*d{32}.*now .*e{32}"),
    "another width": (
        lambda url: (write(url, np.eye(3, dtype=np.float32)), write(url, np.eye(4, dtype=np.float32))),
        "made alike.*dim 3, now 4",
    ),
    "two at once": (two_writers, "one process at a time"),
    "rows are gone": (with_a_gap, "all rows that were written.*2 rows and 0 left out of 3"),
    "a table of others": (
        lambda url: (sql(url, "CREATE TABLE embeddings (a int)"), write(url, np.eye(3, dtype=np.float32))),
        "which holds something else",
    ),
    "a later format": (
        lambda url: (
            write(url, np.eye(3, dtype=np.float32)),
            sql(url, """COMMENT ON TABLE embeddings IS '{"format": 2, "made": {}}'"""),
            PostgresSet(url),
        ),
        "of format 1.*of format 2",
    ),
    "no table": (PostgresSet, "which does not exist"),
    "no rights": (without_rights, "with pgvector that may be written to.*no schema has been selected to create in"),
    "no server": (lambda url: PostgresSet(f"{url}/no"), "a database that answers"),
    "no URL": (lambda url: PostgresSet("postgresql://a?nothing=1"), "nothing"),
    "int8": (lambda url: write(url, np.eye(3, dtype=np.float32), dtype="int8"), "float32 or float16 in a database"),
    "too wide": (lambda url: write(url, np.ones([1, 2001], np.float32)), "at most 2000 .*--dtype=float16"),
    "too large": (lambda url: write(url, np.full([1, 3], 1e6, np.float32), dtype="float16"), "one beyond float16"),
    "twice the same": (one_id_twice, "already exists"),
    "a bad name": (lambda url: PostgresSet(url, 'a"b'), "`table` must be a name"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_database_cannot_take_is_one_line(url, fault):
    work, message = FAULTS[fault]
    with pytest.raises(InputError, match=message) as told:
        work(url)
    assert "\n" not in str(told.value)


def test_the_database_itself_admits_one_model(url):
    write(url, np.eye(3, dtype=np.float32))
    with pytest.raises(psycopg.errors.CheckViolation):
        sql(url, "INSERT INTO embeddings VALUES (9, 'x', NULL, 'other', '[1,2,3]')")


def test_the_commands(url, encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")  # names on one line
    monkeypatch.setattr(export, "latest_version", str, raising=False)
    monkeypatch.setattr(export, "model_digest", lambda path: FakeEncoder.facts["digest"], raising=False)
    monkeypatch.setattr(export, "embed_files", lambda model, images: np.float32([[2, 0, 1]]), raising=False)
    (tmp_path / "photos").mkdir()
    for i in range(6):
        (tmp_path / "photos" / f"{i}.png").write_text(str(i))
    given = ["--saved_model=model", "--table=photos"]
    assert main(["embed", *given, f"--dataset=folder:{tmp_path / 'photos'}", f"--output={url}"]) == 0
    shown = capsys.readouterr().out
    assert "5 vectors in the table photos" in shown
    assert "listed in the table photos_skipped: 1" in shown
    for more in ([], ["--approximate", "--effort=9"]):
        assert main(["search", *given, f"--index={url}", "--k=2", str(tmp_path / "photos" / "2.png"), *more]) == 0
        shown = capsys.readouterr().out
        assert " 4.png" in shown
        assert " 2.png" not in shown, "the image itself"
    for wrong in (
        ["search", *given, f"--index={url}", "--duplicates=0.9"],
        ["search", *given, f"--index={url}", "--approximate", "--kind=hnsw", "a.png"],
        ["embed", *given, "--dataset=folder:photos", f"--output={url}", "--shard=0/2"],
        ["embed", *given, "--dataset=folder:photos", f"--output={tmp_path / 'out'}"],
        ["search", *given, f"--index={tmp_path}", "a.png"],
    ):
        assert main(wrong) == 2
        assert " a database" in capsys.readouterr().err
    with pytest.raises(InputError, match="left out with a database"):
        embed_images("model", ItemsShard(items, 0, 2, total=ITEMS, batch_size=4), url)


def test_a_password_is_never_shown(url):
    with pytest.raises(InputError) as told:
        PostgresSet("postgresql://me:secret@localhost:1/none?connect_timeout=1")
    assert "secret" not in str(told.value)
