"""A few values that stand for many: codebooks of numbers, palettes of vectors. Both are nearly least squares, and exact where few would do.

A palette is made in two steps, as an exhaustive search would take minutes: the vectors are split into cells, and each cell
into its share of the palette. At the end a vector may pick from the palettes of the nearest cells as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from splatview.arrays import Floats

Indices = NDArray[np.intp]
Step = Callable[[float], None]  # is told how much (0..1) is done

BOOK = 256  # entries of a codebook
_POLISH = 40  # rounds that move the entries of a codebook
_SAMPLE = 64  # vectors per cell that tell where the cells are
_ROUNDS = 5  # of k-means, in cells and for cells
_NEIGHBOURS = 8  # cells whose palettes a vector may pick from
_ROWS = 1 << 14  # vectors, and ...
_BLOCK = 1 << 20  # ... distances worked on at once


def codebook(values: NDArray, size: int = BOOK) -> tuple[Floats, NDArray[np.uint8]]:
    """At most `size` numbers, ascending, and which of them is the nearest to each of `values` (finite, any shape)."""
    ordered = np.sort(values, axis=None).astype(np.float64)
    distinct = ordered[np.flatnonzero(np.diff(ordered, prepend=-np.inf))]
    book = distinct if len(distinct) <= size else _lloyd(ordered, _spread(ordered, size))
    book = np.unique(book.astype(np.float32))
    return book, np.searchsorted(_between(book), values).astype(np.uint8)


def palette(vectors: Floats, size: int, step: Step = lambda fraction: None) -> tuple[Floats, Indices]:
    """At most `size` vectors [P, D], and which of them [N] stands for each of `vectors` [N, D] (finite, of moderate size)."""
    distinct, which = _distinct(vectors)
    if len(distinct) <= size:
        return distinct, which
    # Threads of ours, one product of matrices in each: the library's own would wait for each other thousands of times.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return _clustered(vectors, size, pool, step)


def _clustered(vectors: Floats, size: int, pool: Executor, step: Step) -> tuple[Floats, Indices]:
    """The palette of vectors of which more than `size` are different."""
    rng, number = np.random.default_rng(0), max(1, round(size**0.5))
    sample = vectors[np.sort(rng.choice(len(vectors), min(len(vectors), number * _SAMPLE), replace=False))]
    centres = _means(sample, number, 0)
    blocks = pool.map(lambda at: nearest(vectors[at : at + _ROWS], centres), range(0, len(vectors), _ROWS))
    cells, squares = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    counts, errors = np.bincount(cells, minlength=number), np.bincount(cells, squares, number)
    members = np.split(np.argsort(cells, kind="stable"), np.cumsum(counts)[:-1])
    step(0.1)

    def divided(inside: Indices, share: int, seed: int) -> Floats:
        return _means(vectors[inside], share, seed)

    parts = []
    for part in pool.map(divided, members, _shares(counts, errors, size), range(number)):
        parts.append(part)
        step(0.1 + 0.5 * len(parts) / number)
    entries, rows = np.concatenate(parts), np.split(np.arange(sum(map(len, parts))), np.cumsum([*map(len, parts)])[:-1])
    around = np.argsort(np.square(centres[:, None] - centres).sum(2), 1)[:, :_NEIGHBOURS]  # the cell itself comes first
    labels = np.empty(len(vectors), np.intp)

    def label(cell: int) -> None:
        reach = np.concatenate([rows[other] for other in around[cell]])
        labels[members[cell]] = reach[nearest(vectors[members[cell]], entries[reach])[0]]

    for start in (0.6, 0.8):
        if start > 0.6:
            entries = _averages(vectors, labels, entries)
        for done, _ in enumerate(pool.map(label, range(number)), 1):
            step(start + 0.2 * done / number)
    return entries, labels


def nearest(vectors: Floats, centres: Floats) -> tuple[Indices, Floats]:
    """Which of `centres` [P, D] is the nearest to each of `vectors` [N, D], and the squared distance."""
    # The nearest has the largest v.c - c.c / 2: one product of matrices, block by block so that it stays in the cache.
    half, turned = np.einsum("pd,pd->p", centres, centres) / 2, np.ascontiguousarray(centres.T)
    rows = max(1, _BLOCK // len(centres))
    scores = np.empty((min(rows, len(vectors)), len(centres)), np.float32)
    which, best = np.empty(len(vectors), np.intp), np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows]
        score = np.matmul(block, turned, out=scores[: len(block)])
        score -= half
        which[start : start + rows] = found = score.argmax(1)
        best[start : start + rows] = np.take_along_axis(score, found[:, None], 1)[:, 0]
    return which, np.maximum(np.einsum("nd,nd->n", vectors, vectors) - 2 * best, 0)


def _means(vectors: Floats, number: int, seed: int) -> Floats:
    """`number` centres [P, D] of `vectors` by k-means, or all vectors if there are no more."""
    if len(vectors) <= number:
        return vectors
    rng = np.random.default_rng(seed)
    centres = vectors[np.sort(rng.choice(len(vectors), number, replace=False))]
    for _ in range(_ROUNDS):
        which, squares = nearest(vectors, centres)
        centres = _averages(vectors, which, centres)
        empty = np.flatnonzero(np.bincount(which, minlength=number) == 0)
        centres[empty] = vectors[np.argpartition(squares, -len(empty))[len(vectors) - len(empty) :]]  # what is served worst
    return centres


def _averages(vectors: Floats, which: Indices, centres: Floats) -> Floats:
    """The averages [P, D] of the vectors that are labelled 0..P - 1; where there are none, `centres` stays."""
    result, order = centres.copy(), np.argsort(which, kind="stable")
    used, starts, counts = np.unique(which[order], return_index=True, return_counts=True)
    result[used] = np.add.reduceat(vectors[order], starts) / counts[:, None].astype(np.float32)
    return result


def _shares(counts: NDArray, errors: NDArray, total: int) -> list[int]:
    """How many of `total` entries each cell gets: one if it is not empty, no more than it can use; `errors` are summed squares.

    In proportion to the count alone, crowds of equals would be served too well; to the errors alone, stray vectors would be.
    """
    used, weights = counts > 0, np.sqrt(counts * errors)
    rest = np.cumsum(weights) / max(weights.sum(), np.finfo(float).tiny) * (total - int(used.sum()))
    return np.minimum(used + np.diff(np.floor(rest + 1e-6), prepend=0), counts).astype(int).tolist()


def _distinct(vectors: Floats) -> tuple[Floats, Indices]:
    """The different rows of `vectors`, and which of them [N] each row is."""
    factors = np.random.default_rng(1).integers(1 << 62, size=vectors.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    words, keys = vectors.view(np.uint32), np.zeros(len(vectors), np.uint64)
    for column, factor in enumerate(factors):
        keys = (keys ^ keys >> np.uint64(29)) + words[:, column] * factor
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    if all(np.array_equal(vectors[first[which[at : at + _BLOCK]]], vectors[at : at + _BLOCK]) for at in range(0, len(vectors), _BLOCK)):
        return vectors[first], which
    return vectors, np.arange(len(vectors))  # two rows share a key: they are not worth the search for another


def _spread(ordered: NDArray, size: int) -> NDArray:
    """`size` numbers as dense as the cube root of the density of `ordered`, which is the best for many (Panter and Dite, 1951)."""
    edges = ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), 4096)).astype(int)]
    reached = np.cumsum(np.diff(edges, prepend=edges[0]) ** (2 / 3))
    return np.interp((np.arange(size) + 0.5) / size * reached[-1], reached, edges)


def _lloyd(ordered: NDArray, book: NDArray) -> NDArray:
    """`book` moved to the averages of what is nearest to each entry, again and again; entries that serve nothing split the worst others."""
    sums, squares = (np.concatenate([[0.0], np.cumsum(values)]) for values in (ordered, ordered * ordered))
    size = len(book)
    for _ in range(_POLISH):
        bounds = np.concatenate([[0], np.searchsorted(ordered, _between(book)), [len(ordered)]])
        bounds = bounds[np.flatnonzero(np.diff(bounds, append=-1))]
        counts, averages = np.diff(bounds), np.diff(sums[bounds]) / np.diff(bounds)
        errors = np.maximum(np.diff(squares[bounds]) - counts * averages**2, 0)
        worst = np.argsort(-errors, kind="stable")[: size - len(averages)]
        spreads = np.sqrt(errors[worst] / counts[worst])
        averages[worst] -= spreads
        book = np.sort(np.concatenate([averages, averages[worst] + 2 * spreads]))
    return book


def _between(book: NDArray) -> NDArray:
    """The bounds [size - 1] between the entries: a number above one belongs to the entry above it."""
    return (book[1:] + book[:-1]) / 2
