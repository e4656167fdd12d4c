"""What `metarec bench k-shot` asks of the study, before anything is run."""

import pytest
from typer.testing import CliRunner

from metarec_sdk.cli import app
from metarec_sdk.evaluation import k_shot
from metarec_sdk.evaluation.k_shot import Study


@pytest.fixture
def asked(monkeypatch):
    """Runs the command with a study of nothing; gives (names of the sets, plan)."""
    seen = []

    def run_study(sets, plan, folder, **_):
        seen.append(([each.name for each in sets], plan))
        return Study(plan, [])

    monkeypatch.setattr(k_shot, "run_study", run_study)

    def run(*arguments):
        result = CliRunner().invoke(app, ["bench", "k-shot", *arguments])
        return seen.pop() if seen else result

    return run


def test_defaults_are_every_set_with_five_seeds(asked):
    names, plan = asked()
    assert names == [each.name for each in k_shot.SETS]
    assert (len(plan.seeds), plan.budget) == (5, 6)


def test_quick_changes_defaults_and_nothing_that_was_asked_for(asked):
    names, plan = asked("--quick")
    assert names == ["movielens-100k", "movielens-100k-shuffled"]
    assert (len(plan.seeds), plan.budget) == (1, 2)
    names, plan = asked("--quick", "--sets", "coat", "--seeds", "3", "--budget", "4")
    assert (names, len(plan.seeds), plan.budget) == (["coat"], 3, 4)


@pytest.mark.parametrize("option", ["--seeds", "--budget", "--jobs"])
def test_counts_below_one_are_refused_by_name(asked, option):
    result = asked(option, "0")
    assert result.exit_code == 2
    assert option in result.stderr


def test_wrong_names_list_the_right_ones(asked):
    assert "there are ['coat'," in asked("--sets", "cloat").stderr
    assert "there are ['no outer loop'," in asked("--variants", "nothing").stderr
