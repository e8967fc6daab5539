"""Optuna's search: which setting to try next, and which one is not worth finishing.

A search is made in rounds of `ROUND` settings that are chosen together, whatever the number of workers, and each choice
has a random state of its own. So the same search chooses the same settings with one worker and with ten. It keeps
nothing on disk: after a kill it is made again from its first round, whose runs are done already, and so to the settings
that it had chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.records.search import SEED
from studies.queue.pruning import PruningThresholds, median_thresholds
from studies.search.space import Parameter, rounded
from uflow.options import Choices

ROUND = 4  # settings that are chosen before the results of any of them are known
RANDOM = 8  # settings that are drawn before the first is chosen by what was learned from the others
UNPRUNED = 4  # trials that are completed before the first is pruned
STATES = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}  # Optuna's words and ours


class Sweep:
    """The search for the best setting of one arm.

    Args:
        parameters: what may be tried.
    """

    def __init__(self, parameters: Sequence[Parameter]):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.parameters = {parameter.key: parameter for parameter in parameters}
        self.study = optuna.create_study(direction="minimize")
        self._round: dict[int, Any] = {}  # Optuna's trials that are under way
        self._results: dict[int, tuple[str, float | None, str]] = {}

    def left(self, budget: int) -> int:
        """How many trials of a budget have no result yet."""
        return max(0, budget - len(list(self.finished())))

    def finished(self) -> Iterator[tuple[int, dict[str, Any], str, float | None, str]]:
        """Number, setting, state, value and reason of every trial of a round that has ended."""
        for trial in self.study.get_trials(deepcopy=False):
            if word := STATES.get(trial.state.name):
                changes = {key: self._tried(key, value) for key, value in trial.params.items()}
                yield trial.number, changes, word, trial.value, self._results[trial.number][2]

    def _tried(self, key: str, value: Any) -> Any:
        """A number with few digits, but for the arm's own."""
        return value if value == self.parameters[key].default else rounded(value)

    def ask(self, budget: int) -> dict[int, dict[str, Any]]:
        """The settings of the next round by number.

        The first of all is the arm's own setting, so that a search can only find a better one; what of it is outside
        the values that may be tried is drawn as in other trials.
        """
        known, asked = len(self.study.get_trials(deepcopy=False)), {}
        for number in range(known, min(budget, known + ROUND)):
            self._round[number] = self.study.ask()
            asked[number] = self._suggest(self._round[number])
        return asked

    def _sampler(self, number: int, position: int) -> Any:
        """Draws one parameter of one trial, the same whatever was drawn before."""
        import warnings

        import optuna

        seed = int(np.random.SeedSequence([SEED, number, position]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM)
        if number > 0:
            return sampler
        own = {key: p.default for key, p in self.parameters.items() if p.default in p.space}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.PartialFixedSampler(own, sampler)

    def _suggest(self, trial: Any) -> dict[str, Any]:
        chosen = {}
        for position, (key, parameter) in enumerate(self.parameters.items()):
            self.study.sampler = self._sampler(trial.number, position)
            if isinstance(parameter.space, Choices):
                chosen[key] = trial.suggest_categorical(key, parameter.space.values)
            elif parameter.space.integral:
                chosen[key] = trial.suggest_int(key, parameter.space.low, parameter.space.high, log=parameter.space.log)
            else:
                value = trial.suggest_float(key, parameter.space.low, parameter.space.high, log=parameter.space.log)
                chosen[key] = self._tried(key, value)
        return chosen

    def thresholds(self, metric: str) -> PruningThresholds | None:
        """Which the trials of the round that is under way are pruned by; `None` before enough were completed.

        It comes from the trials of earlier rounds only: which trials are pruned must not depend on which were faster.
        """
        completed = self._in_state("COMPLETE")
        if len(completed) < UNPRUNED:
            return None
        return median_thresholds(metric, [trial.intermediate_values for trial in completed])

    def record(
        self,
        number: int,
        state: str,
        value: float | None,
        reason: str = "",
        curve: Iterable[tuple[int, float]] = (),
    ) -> None:
        """Keeps the result of a trial; it counts from `close` on.

        Args:
            number: of the trial.
            state: see `experiments.records.search.Trial`, as for `value` and `reason`.
            value: of the validation split.
            reason: of a failure.
            curve: steps and values of the validations on the way, of a pruned trial until it was pruned.
        """
        for step, seen in curve:
            self._round[number].report(seen, step)
        self._results[number] = state, value, reason

    def close(self) -> None:
        """Ends the round: from here on its results are what pruning and the next choice go by."""
        from optuna.trial import TrialState

        for number, trial in self._round.items():
            word, value, _ = self._results[number]
            state = next(TrialState[name] for name, known in STATES.items() if known == word)
            self.study.tell(trial, value if word == "completed" else None, state=state)
        self._round = {}

    def _in_state(self, name: str) -> list[Any]:
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState[name],))

    def importance(self) -> Mapping[str, float]:
        """How much of the variance of the validation value each option explains (fANOVA).

        Empty with less than 8 completed trials, or if all of them have one value.

        Hutter, Hoos and Leyton-Brown, ICML 2014, by Optuna's `FanovaImportanceEvaluator` with seed 0. Only trials that
        were completed count. It says what mattered within the ranges that were searched, not what matters.
        """
        import optuna

        completed = self._in_state("COMPLETE")
        if len(completed) < RANDOM or len({trial.value for trial in completed}) == 1:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return {key: float(value) for key, value in found.items()}
