"""The experiments: the same start and mini-batches for all curves, other ones for other seeds."""

from typing import Any

import numpy as np
import pytest
import torch

from momentc.learn.experiments import figure3, figure4, figure5
from momentc.learn.experiments.catalogue import find_experiment, settings_of
from momentc.learn.experiments.runs import CURVES, Rule, Run, seed_of
from momentc.learn.experiments.tasks import Lesson, Lines, harmonic, square_points
from momentc.learn.experiments.training import test_loss as loss_of
from momentc.learn.experiments.training import train, two_layers
from tests.learn.tiny import TASK, TINY


def perform(figure: str, **chosen: Any) -> list[dict[str, Any]]:
    """Perform the first seed's runs of which all chosen fields are so."""
    experiment = find_experiment(figure)
    scale = TINY[figure]
    runs = [
        run
        for run in experiment.plan(scale, range(5, 6))
        if all(getattr(run, name) == value for name, value in chosen.items())
    ]
    return [experiment.perform(scale, run) for run in runs]


@pytest.mark.parametrize("figure", sorted(TINY))
def test_every_figure_runs_and_repeats_itself(figure: str) -> None:
    experiment = find_experiment(figure)
    scale = TINY[figure]
    runs = experiment.plan(scale, range(3, 5))
    assert len({run.key for run in runs}) == len(runs)
    for run in (runs[0], runs[1]):
        first, second = experiment.perform(scale, run), experiment.perform(scale, run)
        assert first["test"] == second["test"]
        assert first["train"] == second["train"]
        assert len(first["epochs"]) == len(first["test"]) == len(first["train"])
        assert first["train"][0] is None
        assert (first["compress_seconds"] is not None) == (run.curve == "compressed")
        assert experiment.cost(scale, run) > 0
    other = experiment.perform(scale, next(run for run in runs if run.seed == 4))
    assert other["test"] != experiment.perform(scale, runs[0])["test"]


@pytest.mark.parametrize("figure", sorted(TINY))
@pytest.mark.parametrize("name", ["small", "paper"])
def test_scales_can_be_met(figure: str, name: str) -> None:
    """Names of optimizers exist, and targets are below d."""
    experiment = find_experiment(figure)
    scale = getattr(experiment, name)
    plain = settings_of(scale)
    rules = plain.get("rules") or [plain[key] for key in plain if key.endswith("rule")]
    assert all(hasattr(torch.optim, rule["algorithm"]) for rule in rules)
    runs = experiment.plan(scale, range(1))
    assert all(run.target <= run.d for run in runs)
    assert {run.curve for run in runs} <= set(CURVES)


def test_students_begin_alike_and_full_batches_learn_alike() -> None:
    full, compressed, random = perform("fig3", panel="a")
    assert full["test"][0] == compressed["test"][0] == random["test"][0]
    assert compressed["moment_error"] < 1e-12


def test_drawn_batches_follow_one_stream_of_numbers() -> None:
    """Draws are places among the weights added up: doubling a sample is giving it the weight 2."""
    x = torch.arange(4.0)[:, None]
    weights = torch.tensor([1.0, 2.0, 3.0, 2.0], dtype=torch.float64)
    doubled = x.repeat_interleave(weights.long(), dim=0)

    def batches(values: torch.Tensor, c: torch.Tensor) -> list[torch.Tensor]:
        random = torch.Generator().manual_seed(3)
        samples = figure3.Samples(values, values, c)
        return [inputs for inputs, _ in figure3.drawn_batches(samples, 7, 40, random)()]

    few = batches(x, weights)
    many = batches(doubled, torch.ones(8, dtype=torch.float64))
    assert [len(batch) for batch in few] == [7, 7, 7, 7, 7, 5]
    assert all(torch.equal(a, b) for a, b in zip(few, many, strict=True))


def test_networks_of_all_curves_see_the_same_batches() -> None:
    x, y = TASK.train_set(9)
    first = figure4.shuffled_batches(x, y, 100, 9)
    second = figure4.shuffled_batches(x, y, 100, 9)
    for _ in range(2):
        one, two = list(first()), list(second())
        assert [len(inputs) for inputs, _ in one] == [100, 100, 56]
        assert all(torch.equal(a[0], b[0]) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0][0], next(iter(figure4.shuffled_batches(x, y, 100, 9)()))[0])


def test_narrow_networks_come_from_the_wide_one() -> None:
    runs = [Run("b", curve, 2, 300, 60) for curve in CURVES]
    wide, compressed, random = (figure4.network(run, 2)[0] for run in runs)
    rows = {tuple(row) for row in wide.state_dict()["0.weight"].tolist()}
    for part in (compressed, random):
        kept = part.state_dict()["0.weight"].tolist()
        assert len(kept) == 60
        assert {tuple(row) for row in kept} <= rows
    x = square_points(50, torch.Generator().manual_seed(0))
    near, far = ((part(x) - wide(x)).abs().max() for part in (compressed, random))
    assert near < far


def test_a_compressed_network_follows_the_wide_one() -> None:
    full, compressed, random = perform("fig4", panel="b")
    assert full["test"][-1] < full["test"][0]
    # From the first step on: in the end all three have learned the same.
    wide = np.array(full["test"])
    near, far = (np.abs(np.array(run["test"]) - wide).mean() for run in (compressed, random))
    assert near < 0.7 * far


def test_uncompressed_sizes_are_the_full_curve() -> None:
    """Where ceil(16 sqrt d) is d or more, nothing is left out."""
    assert [figure5.square_root_rule(d) for d in (100, 256, 257, 1024)] == [100, 256, 257, 512]
    assert figure5.square_root_rule(10_000) == 1600


def test_the_lesson_is_that_of_the_published_figure() -> None:
    """Seed 42: the published test loss of the untrained student is 5.6094, on 10,000 points."""
    lesson = Lesson(50, 42)
    x, y = lesson.test_set(10_000)
    student = two_layers(50, 42)
    assert loss_of(student, x, y, 50) == pytest.approx(5.609402179718018, rel=1e-6)
    again, _ = Lesson(50, 1).test_set(5)
    assert not torch.equal(again, Lesson(50, 1).train_set(5, 0.0)[0])


def test_harmonics_and_lines() -> None:
    x = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]])
    value = harmonic(x, 2, 4.0)[:, 0]
    assert value[0] == 0.0
    assert value[1] == pytest.approx(0.3528340)  # J_2(2)
    assert value[2] == pytest.approx(-0.3528340)
    lines = Lines(segments=4, context=3, noise=0.0)
    tokens, answers = lines.draw(500, torch.Generator().manual_seed(1))
    assert tokens.shape == (500, 7, 1)
    assert answers.shape == (500, 1)
    # Slopes are about 1, so close questions have close answers.
    first = (tokens[:, 0, 0] - tokens[:, 6, 0]).abs() < 0.01
    assert first.any()
    assert ((tokens[first, 1, 0] - answers[first, 0]).abs() < 0.05).all()


def test_stages_of_a_seed_are_independent() -> None:
    found = {seed_of(seed, stage) for seed in range(20) for stage in range(5)}
    assert len(found) == 100
    assert all(0 <= value < 2**63 for value in found)


def test_the_rate_falls_along_a_cosine_unless_told() -> None:
    """At the end the last steps are small, so both ways part."""

    def trained(cosine: bool) -> list[float]:
        model = two_layers(4, 1)
        x = torch.ones(8, 2)
        rule = Rule("a", "SGD", 0.05, None, 4, 1, cosine)
        found: list[float] = train(
            model, lambda: [(x, x[:, :1])], rule, lambda: loss_of(model, x, x[:, :1], 4)
        )["test"]
        return found

    falling, constant = trained(True), trained(False)
    assert falling[:2] == constant[:2]
    assert falling[-1] > constant[-1]
