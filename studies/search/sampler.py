"""Optuna's search: which setting to try next, and which one is not worth finishing.

A search is made in rounds of `ROUND` settings that are chosen together, whatever the number of workers, and each choice
has a random state of its own. So the same search chooses the same settings with one worker and with ten, and after a
kill it goes on with the settings that it had chosen.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.records import layout, locks
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
        folder: the study's; the journal of its searches is kept there.
        name: of the search; another experiment or other parameters need another name.
        parameters: what may be tried.
    """

    def __init__(self, folder: pathlib.Path, name: str, parameters: Sequence[Parameter]):
        import optuna

        from studies.queue import journal

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.parameters = {parameter.key: parameter for parameter in parameters}

        def created(storage: Any) -> Any:
            return optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)

        with locks.held(folder / "search.lock"):
            self.study = journal.opened(folder / layout.SEARCH_JOURNAL, created)

    def left(self, budget: int) -> int:
        """How many trials of a budget have no result yet."""
        return max(0, budget - len(list(self.finished())))

    def finished(self) -> Iterator[tuple[int, dict[str, Any], str, float | None, str]]:
        """Number, setting, state, value and reason of every trial of a round that has ended."""
        for trial in self.study.get_trials(deepcopy=False):
            if word := STATES.get(trial.state.name):
                changes = {key: self._tried(key, value) for key, value in trial.params.items()}
                yield trial.number, changes, word, trial.value, trial.user_attrs["result"][2]

    def _tried(self, key: str, value: Any) -> Any:
        """A number with few digits, but for the arm's own."""
        return value if value == self.parameters[key].default else rounded(value)

    def ask(self, budget: int) -> dict[int, dict[str, Any]]:
        """The settings of the next round by number: those that an interrupted round left, or new ones.

        The first of all is the arm's own setting, so that a search can only find a better one; what of it is outside
        the values that may be tried is drawn as in other trials.
        """
        if all("result" in trial.user_attrs for trial in self._in_state("RUNNING")):
            self.close()
        numbers = [trial.number for trial in self._in_state("RUNNING")]
        known = len(self.study.get_trials(deepcopy=False))
        # a round that was interrupted while its settings were chosen is filled up
        until = min(budget, -(-known // ROUND) * ROUND if numbers else (known // ROUND + 1) * ROUND)
        asked = {}
        for number in [*numbers, *range(known, until)]:
            asked[number] = self._suggest(self._trial(number) if number in numbers else self.study.ask())
        return asked

    def _sampler(self, number: int, position: int) -> Any:
        """Draws one parameter of one trial, the same whatever was drawn before: a kill may fall between any two."""
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

    def _trial(self, number: int) -> Any:
        import optuna

        found = self.study.get_trials(deepcopy=False)[number]
        return optuna.trial.Trial(self.study, found._trial_id)  # Optuna has no public way back to a running trial

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
        trial, known = self._trial(number), self.study.get_trials(deepcopy=False)[number].intermediate_values
        for step, seen in curve:
            if step not in known:
                trial.report(seen, step)
        trial.set_user_attr("result", [state, value, reason])

    def close(self) -> None:
        """Ends the round: from here on its results are what pruning and the next choice go by."""
        from optuna.trial import TrialState

        for trial in self._in_state("RUNNING"):
            word, value, _ = trial.user_attrs["result"]
            state = next(TrialState[name] for name, known in STATES.items() if known == word)
            self.study.tell(trial.number, value if word == "completed" else None, state=state)

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
