"""The index finds what brute force finds, forgets what it is told to, and keeps its bounds."""

from __future__ import annotations

import numpy as np
import pytest

from aicached.semantic import index
from aicached.semantic.index import Indexes, Partition


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def vectors():
    return unit(np.random.default_rng(1).standard_normal((300, 32)).astype(np.float32))


def filled(vectors, limit=1000):
    made = Partition(limit)
    for number, vector in enumerate(vectors):
        made.add(digest(number), f"text {number}", vector)
    return made


def numbers(found):
    return [int.from_bytes(near.digest, "big") for near in found]


def test_the_nearest_are_those_of_brute_force(vectors):
    partition = filled(vectors)
    for query in vectors[:20] + 0.1:
        query = unit(query)
        found = partition.nearest(query, 5)
        scores = vectors @ query
        assert np.argsort(-scores)[:5].tolist() == numbers(found)
        assert scores[np.argsort(-scores)[:5]].tolist() == pytest.approx([near.similarity for near in found], abs=1e-6)
        assert [f"text {number}" for number in numbers(found)] == [near.text for near in found]


def test_an_empty_partition_has_no_nearest(vectors):
    assert [] == Partition(10).nearest(vectors[0], 5)


def test_a_dropped_vector_is_not_found_again(vectors):
    partition = filled(vectors)
    for number in range(0, 300, 2):
        partition.drop(digest(number))
        partition.drop(digest(number))
    assert 150 == len(partition)
    for number in range(20):
        assert number not in numbers(partition.nearest(vectors[number], 10)) or number % 2


def test_a_newer_vector_takes_the_place_of_the_older(vectors):
    partition = filled(vectors[:10])
    partition.add(digest(3), "new text", vectors[20])
    assert 10 == len(partition)
    (near,) = partition.nearest(vectors[20], 1)
    assert (digest(3), "new text") == near[:2]


def test_the_newest_stay_within_the_limit(vectors):
    partition = filled(vectors, limit=50)
    assert 50 == len(partition)
    assert set(range(250, 300)) >= set(numbers(partition.nearest(vectors[0], 5)))
    assert 299 == numbers(partition.nearest(vectors[299], 1))[0]
    assert len(partition.held) <= 200


def test_a_vector_of_another_size_is_no_neighbour(vectors):
    partition = filled(vectors)
    partition.add(digest(1000), "short", np.ones(5, np.float32))
    assert 300 == len(partition)
    assert [] == partition.nearest(np.ones(5, np.float32), 5)


def test_a_large_partition_is_filtered_by_sign(vectors, monkeypatch):
    monkeypatch.setattr(index, "_LARGE", 100)
    partition = filled(vectors)
    assert partition.signs is not None
    right = sum(numbers(partition.nearest(unit(vector + 0.05), 1)) == [number] for number, vector in enumerate(vectors))
    assert right >= 295
    partition.drop(digest(7))
    partition.add(digest(7), "again", vectors[8])
    assert {7, 8} == set(numbers(partition.nearest(vectors[8], 2)))


def test_signs_are_counted_without_numpy_2(vectors, monkeypatch):
    monkeypatch.setattr(index, "_LARGE", 100)
    partition = filled(vectors)
    expected = [numbers(partition.nearest(vector, 3)) for vector in vectors[:20]]
    monkeypatch.delattr(np, "bitwise_count")
    assert expected == [numbers(partition.nearest(vector, 3)) for vector in vectors[:20]]


def test_partitions_that_were_used_last_stay(vectors):
    indexes = Indexes(100, vectors=60)
    for name in range(5):
        partition = indexes.of(digest(name))
        for number in range(20):
            partition.add(digest(number), "", vectors[number])
    assert indexes.of(digest(4)) is partition
    assert 4 >= len(indexes.partitions)
    assert digest(0) not in indexes.partitions
