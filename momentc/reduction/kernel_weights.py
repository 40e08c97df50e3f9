"""Weights of least kernel discrepancy: what the moments leave free serves all other functions.

Problem. s points y_j carry weights c_j > 0 in place of a larger weighted set (z_i, w_i). Find
weights c' that match given moments of the larger set, stay above a part of c, and minimise

    D(c') = sum_ab u_a u_b phi(|x_a - x_b|),    u = (c', -w) on the points x = (y, z),

with phi(r) = (-1)^(p+1) r^(2p+1), the polyharmonic spline. It is conditionally positive definite of
order p + 1 (Micchelli 1986): where the moments up to degree p agree, D is the square of the largest
error over the unit ball of a function space. The minimiser integrates, instead of a function, the
spline that interpolates it at the points y: optimal quadrature (Sard 1949; Larkin 1972). There is
no length to choose. For p = 1, D is, but for a factor, the mean square error over all functions
max(0, <x, u> - t) of directions u and offsets t; a larger p weighs smooth functions more.

Solution. Let Q be an orthonormal basis of the polynomials of degree <= p on the points y,
P = I - Q Q^T, and Phi_ij = phi(|y_i - y_j|). Then H = P Phi P + Q Q^T is positive definite. With
H = L L^T and v = L^T c' the minimum under equations A c' = b is the projection of a vector onto
those of L^-1 A^T. So one factorisation of H, and one of the equations of all orders, serve each
order; and weights that would fall below their bound are held there, by an equation each, until none
does.
"""

from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack, qr, solve_triangular, svd

from momentc.indexing import U
from momentc.jit import kernel
from momentc.lapack import solve_lower
from momentc.map_function import MapFunction, run_in_parts
from momentc.moments.multi_index import ProductPlan
from momentc.tolerances import KERNEL_DEPENDENCE, kernel_ridge

__all__ = ["KernelWeights", "kernel_matrix", "kernel_sums"]

# Points whose distances are evaluated together: a line of them stays in the first-level cache.
TILE: Final = 256

# Smoothness of the spline: p of r^(2p+1).
POWERS: Final = (1, 2, 3)

# Points that a thread takes at a time.
TASK_POINTS: Final = 64

# Equations whose images a thread finds at a time.
TASK_EQUATIONS: Final = 64

# Times that weights may fall below their bound before the problem is given up.
PATIENCE: Final = 50

# Part of its length by which every feature must differ from those before it for one factorisation
# to give the basis of all degrees.
CLEARLY_INDEPENDENT: Final = 2.0**-24

# Inverse of the condition of images, in the 1-norm, from which the Gram matrix will do: it has the
# square, and each of the two solves leaves as much as that times the rounding.
LEAST_CONDITION: Final = 2.0**-20

Array = NDArray[np.float64]


@kernel
def _fill_splines(columns, first, last, point, p, line):  # type: ignore[no-untyped-def]
    """Fill ``line`` with r^(2p+1), r the distances of points ``first .. last - 1`` from a point."""
    begin = U(first)
    count = U(last - first)
    own = point[0]
    for j in range(count):
        difference = columns[0, begin + j] - own
        line[j] = difference * difference
    for axis in range(U(1), U(columns.shape[0])):
        own = point[axis]
        for j in range(count):
            difference = columns[axis, begin + j] - own
            line[j] += difference * difference
    # A loop for each power, without a loop inside: these use vector instructions.
    if p == 1:
        for j in range(count):
            line[j] *= np.sqrt(line[j])
    elif p == 2:
        for j in range(count):
            line[j] *= line[j] * np.sqrt(line[j])
    else:
        for j in range(count):
            line[j] *= line[j] * line[j] * np.sqrt(line[j])


@kernel
def _fill_sums(points, columns, weights, p, unit, out, first, last):  # type: ignore[no-untyped-def]
    """Fill ``out[first:last]`` with the weighted sums over all columns.

    A sum for each place in the tile: additions that do not wait for each other.
    """
    n = columns.shape[1]
    line = np.empty(TILE)
    sums = np.empty(TILE)
    for i in range(first, last):
        for j in range(TILE):
            sums[j] = 0.0
        for start in range(0, n, TILE):
            end = min(n, start + TILE)
            _fill_splines(columns, start, end, points[i], p, line)
            begin = U(start)
            for j in range(U(end - start)):
                sums[j] += weights[begin + j] * line[j]
        total = 0.0
        for j in range(TILE):
            total += sums[j]
        out[i] = unit * total


@kernel
def _fill_matrix(points, columns, p, unit, out, first, last):  # type: ignore[no-untyped-def]
    """Fill the upper triangle of rows ``first .. last - 1`` of the matrix of all points."""
    n = columns.shape[1]
    for i in range(first, last):
        line = out[i, i:]
        _fill_splines(columns, i, n, points[i], p, line)
        for j in range(n - i):
            line[j] *= unit


def _unit(p: int, scale: float) -> float:
    if p not in POWERS:
        raise ValueError(f"p is {p}; expected one of {POWERS}")
    return (1.0 if p % 2 else -1.0) / scale


def kernel_sums(
    points: Array, others: Array, weights: Array, p: int, map_function: MapFunction = map
) -> Array:
    """Return ``sum_i weights_i phi(|points_j - others_i|)`` for every j.

    Parameters
    ----------
    points : (s, m) float64 ndarray
    others : (n, m) float64 ndarray
    weights : (n,) float64 ndarray
    p : {1, 2, 3}
        phi(r) = (-1)^(p+1) r^(2p+1).
    map_function : callable
        Runs the independent parts; the result does not depend on it.

    Returns
    -------
    (s,) float64 ndarray
    """
    points, columns = np.ascontiguousarray(points), np.ascontiguousarray(others.T)
    out = np.empty(len(points))
    unit = _unit(p, 1.0)
    fill = partial(_fill_sums, points, columns, weights, p, unit, out)
    run_in_parts(fill, len(points), TASK_POINTS, map_function)
    return out


def kernel_matrix(
    points: Array, p: int, scale: float = 1.0, map_function: MapFunction = map
) -> Array:
    """Return ``phi(|points_i - points_j|) / scale``, the lower triangle in Fortran's order.

    Parameters
    ----------
    points : (s, m) float64 ndarray
    p : {1, 2, 3}
    scale : float
    map_function : callable
        The result does not depend on it.

    Returns
    -------
    (s, s) float64 ndarray
        As LAPACK takes it. Above the diagonal are zeros.
    """
    points, columns = np.ascontiguousarray(points), np.ascontiguousarray(points.T)
    out = np.zeros((len(points), len(points)))
    unit = _unit(p, scale)
    fill = partial(_fill_matrix, points, columns, p, unit, out)
    run_in_parts(fill, len(points), TASK_POINTS, map_function)
    return out.T


class KernelWeights:
    """The problem, factored: weights for any order of the moments.

    Parameters
    ----------
    points : (s, m) float64 ndarray
        In the frame.
    weights : (s,) float64 ndarray
        > 0.
    source_sums : (s,) float64 ndarray
        :func:`kernel_sums` over the larger set.
    features : (N, s) float64 ndarray
        Of the points, up to the order of ``plan``.
    residual : (N,) float64 ndarray
        Moments wanted less those of the weights.
    plan : ProductPlan
    p : int
        1 .. order of ``plan``.
    least_ratio : float
        No weight may fall below this part of its value.
    map_function : callable
        The result does not depend on it.

    Raises
    ------
    numpy.linalg.LinAlgError
        If H is not positive definite, as with points that are not finite.
    """

    def __init__(
        self, points: Array, weights: Array, source_sums: Array, features: Array, residual: Array,
        plan: ProductPlan, p: int, least_ratio: float, map_function: MapFunction = map,
    ) -> None:  # fmt: skip
        self._bound = least_ratio * weights
        n_low = int(plan.first[p + 1])
        edges = plan.first[: plan.order + 2].tolist()
        low, coordinates, _ = _orthonormal(features[:n_low], residual[:n_low], edges[: p + 2])
        # The least shift that meets the moments up to degree p. What comes on top of it has none.
        shift = low @ coordinates
        self._start = weights + shift

        # In units in which the entries are about 1 in the mean.
        scale = float(np.abs(source_sums).mean() / weights.sum())
        matrix = kernel_matrix(points, p, scale, map_function)
        gradient = source_sums / scale - blas.dsymv(1.0, matrix, self._start, lower=1)
        # P Phi P + Q Q^T, as Phi - Q Z^T - Z Q^T.
        image = blas.dsymm(1.0, matrix, low, lower=1)
        image -= low @ (0.5 * (low.T @ image)) + 0.5 * low
        matrix = blas.dsyr2k(-1.0, image, low, 1.0, matrix, lower=1, overwrite_c=1)
        matrix.T.flat[:: len(matrix) + 1] += kernel_ridge(len(matrix))
        self._factor, info = lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            raise np.linalg.LinAlgError("the kernel matrix of the points is not positive definite")
        self._free = blas.dtrsv(self._factor, gradient - low @ (low.T @ gradient), lower=1)
        # Of v = L^T (c' - start) the equations A (c' - start) = b say what (L^-1 A^T)^T v is.
        self._images, self._triangle, self._wanted, self._counts = self._factorised(
            features, residual, edges, n_low, shift, map_function
        )
        # L^-1 e_i of the weights that were held so far, for whatever order.
        self._held_at = np.full(len(weights), -1)
        self._held_images = np.empty((len(weights), 0), order="F")

    def _solved(self, right: Array) -> Array:
        """Return ``L^-1 right``."""
        solution = np.array(right, order="F")
        solve_lower(self._factor, solution)
        return solution

    def _images_of(self, equations: Array, map_function: MapFunction) -> Array:
        """Return ``L^-1`` times the equations, (s, N) in Fortran's order."""
        images = np.empty_like(equations, order="F")

        def solve(first: int, last: int) -> None:
            images[:, first:last] = equations[:, first:last]
            solve_lower(self._factor, images[:, first:last])

        run_in_parts(solve, equations.shape[1], TASK_EQUATIONS, map_function)
        return images

    def _factorised(
        self, features: Array, residual: Array, edges: list[int], n_low: int, shift: Array,
        map_function: MapFunction,
    ) -> tuple[Array, Array, Array, list[int]]:  # fmt: skip
        """Return the images of the equations and a factor of their Gram matrix, for every order.

        Ill-conditioned images are made orthonormal: the factor is then that of unity.

        Returns
        -------
        images : (s, r) float64 ndarray
        triangle : (r, r) float64 ndarray
            R with R^T R = ``images^T images``.
        wanted : (r,) float64 ndarray
            Products of v with the images, for the moments to be met.
        counts : list of int
            Images up to each degree.
        """
        if len(features) <= features.shape[1]:
            wanted = residual - features @ shift
            wanted[:n_low] = 0.0
            images = self._images_of(features.T, map_function)
            triangle = _gram_factor(images)
            if triangle is not None:
                return images, triangle, wanted, edges[1:]
            basis, across = qr(images, mode="economic", check_finite=False)
            if _clearly_independent(across):
                return *_orthonormalised(basis, across, wanted), edges[1:]
        polynomials, coordinates, counts = _orthonormal(features, residual, edges)
        # They may be fewer of a low degree, and the shift have a part along others.
        wanted = coordinates - polynomials.T @ shift
        images = self._images_of(polynomials, map_function)
        basis, across = qr(images, mode="economic", check_finite=False)
        return *_orthonormalised(basis, across, wanted), counts

    def _meeting(self, count: int, vectors: Array, products: Array | float) -> Array:
        """Return the nearest vectors whose products with the first ``count`` images are these.

        By the seminormal equations, corrected once: for well-conditioned images that is as good as
        an orthonormal basis (Bjorck 1987).
        """
        images, triangle = self._images[:, :count], self._triangle[:count, :count]
        for _ in range(2):
            missing = products - images.T @ vectors
            vectors = vectors + images @ lapack.dpotrs(triangle, missing)[0]
        return vectors

    def _unit_images(self, which: NDArray[np.int64]) -> Array:
        """Return ``L^-1 e_i`` for some weights."""
        new = which[self._held_at[which] < 0]
        if len(new):
            units = np.zeros((len(self._held_at), len(new)), order="F")
            units[new, np.arange(len(new))] = 1.0
            self._held_at[new] = self._held_images.shape[1] + np.arange(len(new))
            self._held_images = np.hstack([self._held_images, self._solved(units)])
        return self._held_images[:, self._held_at[which]]

    def matching(self, order: int) -> Array | None:
        """Return the weights that match the moments up to an order, at least p.

        None if no weights within the bounds were found.
        """
        count = self._counts[order]
        solution = self._meeting(count, self._free, self._wanted[:count])
        held = np.empty(0, dtype=np.int64)
        free_images = np.empty((len(solution), 0))
        n_below = len(solution)
        refined = True
        for _ in range(PATIENCE):
            found = self._start + blas.dtrsv(self._factor, solution, lower=1, trans=1)
            # Those that are held miss their bound by what the last solve has lost in digits. What
            # they miss is raised once more: it would be missing in the moments.
            raised = self._bound[held] - found[held]
            found[held] = self._bound[held]
            below = np.flatnonzero(~(found >= self._bound))
            if len(below) == 0 and refined:
                return np.asarray(found)
            refined = len(below) == 0
            if len(below):
                held = np.concatenate([held, below])
                raised = np.concatenate([raised, (self._bound - found)[below]])
                # Where an order is too high, every weight that is held pushes more below.
                if len(below) > n_below or count + len(held) >= len(found):
                    break
                n_below = len(below)
                # What holds a weight, without what would touch the moments.
                more = self._meeting(count, self._unit_images(below), 0.0)
                free_images = np.hstack([free_images, more])
                factor, info = lapack.dpotrf(free_images.T @ free_images, lower=1)
                if info != 0:
                    break
            solution = solution + free_images @ lapack.dpotrs(factor, raised, lower=1)[0]
        return None


def _gram_factor(images: Array) -> Array | None:
    """Return the triangle R with R^T R = ``images^T images``; None if their condition is high."""
    triangle, info = lapack.dpotrf(blas.dsyrk(1.0, images, trans=1), clean=1)
    if info != 0:
        return None
    # Of columns of the same length: how long they are changes nothing.
    inverse_condition, info = lapack.dtrcon(triangle / _column_lengths(triangle))
    if info != 0 or not inverse_condition > LEAST_CONDITION:
        return None
    return np.asfortranarray(triangle)


def _orthonormalised(basis: Array, across: Array, wanted: Array) -> tuple[Array, Array, Array]:
    """Return an orthonormal basis of images, its triangle, and what is wanted of it."""
    along = solve_triangular(across, wanted, trans="T", check_finite=False)
    return np.asfortranarray(basis), np.eye(basis.shape[1], order="F"), along


def _column_lengths(triangle: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->j", triangle, triangle)))


def _clearly_independent(triangle: Array) -> bool:
    """Tell whether each of the columns whose R of Q R this is differs from those before it."""
    own = np.abs(np.diagonal(triangle))
    return bool(np.all(own > CLEARLY_INDEPENDENT * _column_lengths(triangle)))


def _orthonormal(
    features: Array, residual: Array, edges: list[int]
) -> tuple[Array, Array, list[int]]:
    """Return an orthonormal basis of the features over the points, degree by degree.

    Features that depend on those of lower degrees, or of their own, add nothing to it.

    Parameters
    ----------
    features : (N, s) float64 ndarray
    residual : (N,) float64 ndarray
    edges : list of int
        Where each degree begins, and N.

    Returns
    -------
    basis : (s, r) float64 ndarray
        In Fortran's order.
    coordinates : (r,) float64 ndarray
        What a change of the weights must have along the basis to change the moments by
        ``residual``.
    counts : list of int
        Columns of the basis up to each degree.
    """
    n_features, n_points = features.shape
    if n_features <= n_points:
        basis, triangle = qr(features.T, mode="economic", check_finite=False)
        if _clearly_independent(triangle):
            coordinates = solve_triangular(triangle, residual, trans="T", check_finite=False)
            return basis, coordinates, edges[1:]
    basis = np.empty((n_points, min(features.shape)), order="F")
    coordinates = np.empty(basis.shape[1])
    counts: list[int] = []
    count = 0
    for first, last in pairwise(edges):
        block = features[first:last]
        known = basis[:, :count]
        along = block @ known
        rest = block - along @ known.T
        # Once more: what the first subtraction leaves of the basis is rounding, not nothing.
        again = rest @ known
        rest -= again @ known.T
        across, triangle = qr(rest.T, mode="economic", check_finite=False)
        left, sizes, right = svd(triangle.T, full_matrices=False, check_finite=False)
        length = np.sqrt(np.einsum("ij,ij->i", block, block).max())
        rank = min(int(np.count_nonzero(sizes > KERNEL_DEPENDENCE * length)), n_points - count)
        missing = residual[first:last] - (along + again) @ coordinates[:count]
        basis[:, count : count + rank] = across @ right[:rank].T
        coordinates[count : count + rank] = (left[:, :rank].T @ missing) / sizes[:rank]
        count += rank
        counts.append(count)
    return np.asfortranarray(basis[:, :count]), coordinates[:count], counts
