"""Random days of a registry, with crashes between the steps on disk, against a plain model.

    python -m tests.rolling.registry.random_days EXAMPLES DIRECTORY

Each operation runs in a fork of this process, which holds no TensorFlow; some are killed
at one of their steps on disk. After a crash the registry must be as before or as after the
operation, with nothing torn, and the same operation must then go through.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.rolling.registry import bare

bare.install()

from keras_trainsteps.rolling.registry.blessing import Blessing, Check  # noqa: E402
from keras_trainsteps.rolling.registry.registry import ModelRegistry  # noqa: E402
from tests.rolling.faults import Faults  # noqa: E402
from tests.rolling.registry.crashes import child  # noqa: E402
from tests.rolling.registry.days import bless, folder_publish  # noqa: E402

CRASH = st.one_of(
    st.none(), st.tuples(st.integers(0, 24), st.sampled_from(["kill_before", "kill_after"]))
)
counts = {"operations": 0, "crashes": 0}


class Days(RuleBasedStateMachine):
    """What is there, and who was champion, as sets and lists."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=sys.argv[2]))
        self.there, self.champions = set(), []
        ModelRegistry(self.folder)

    def teardown(self):
        shutil.rmtree(self.folder)

    @property
    def registry(self):
        return ModelRegistry(self.folder)

    def run(self, work, crash, *before):
        """Runs an operation; a killed one leaves what was there before, or what is now."""
        counts["operations"] += 1
        after = self.now()
        if crash is not None:

            def broken():
                Faults(*crash).install()
                work(ModelRegistry(self.folder))

            killed = child(broken) != 0
            counts["crashes"] += killed
            seen = self.seen()
            assert seen == after or (killed and seen in before), (crash, seen, before, after)
            self.registry.clean()
            if not killed or seen == after:
                return
        assert child(lambda: work(ModelRegistry(self.folder))) == 0
        assert self.seen() == after, (self.seen(), after)

    def seen(self):
        registry = self.registry
        return tuple(registry.versions()), registry.aliases().get("champion")

    @property
    def champion(self):
        return self.champions[-1] if self.champions else None

    def now(self):
        return tuple(sorted(self.there)), self.champion

    @rule(crash=CRASH)
    def publishes(self, crash):
        number = max(self.there, default=0) + 1
        before = self.now()
        self.there.add(number)
        self.run(lambda registry: folder_publish(registry, number), crash, before)

    @precondition(lambda self: self.there)
    @rule(data=st.data(), crash=CRASH)
    def promotes(self, data, crash):
        number = data.draw(st.sampled_from(sorted(self.there)))
        if number == self.champion:
            return
        blessing, before = bless(self.registry, number), self.now()
        self.champions.append(number)
        self.run(lambda registry: registry.promote(number, blessing), crash, before)

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def never_promotes_without_a_blessing(self, data):
        number = data.draw(st.sampled_from(sorted(self.there)))
        if number == self.champion:
            return
        good = bless(self.registry, number)
        failed = (Check("ndcg", False, 0.0, "above 1"),)
        for bad in (
            Blessing(good.challenger, good.champion, failed, 5),
            Blessing("another model", good.champion, good.checks, 5),
            Blessing(good.challenger, "another champion", good.checks, 5),
        ):
            try:
                self.registry.promote(number, bad)
            except ValueError:
                continue
            raise AssertionError("an unblessed version became champion")

    @rule(crash=CRASH)
    def rolls_back(self, crash):
        earlier = [n for n in self.champions[:-1] if n in self.there and n != self.champion]
        if not earlier:
            return
        before, leaves = self.now(), self.champion
        self.champions = earlier
        for again in (crash, None):  # the second does nothing
            self.run(lambda registry: registry.rollback(from_version=leaves), again, before)

    @precondition(lambda self: len(self.there) > 2)
    @rule(newest=st.integers(1, 3), crash=CRASH)
    def retains(self, newest, crash):
        doomed = self.registry.retain(newest, dry_run=True)
        assert not {*doomed} & {self.champion, *sorted(self.there)[-newest:]}
        before = [(tuple(sorted(self.there - {*doomed[:n]})), self.champion) for n in range(9)]
        self.there -= {*doomed}
        self.run(lambda registry: registry.retain(newest), crash, *before)

    @invariant()
    def is_whole(self):
        assert self.seen() == self.now()
        for number in self.there:
            self.registry.verify(number)
        for alias in self.registry.aliases():
            self.registry.get(alias)
        assert not [name for name in os.listdir(self.folder) if name.startswith(".")]


if __name__ == "__main__":
    os.mkdir(sys.argv[2])
    run_state_machine_as_test(
        Days,
        settings=settings(
            max_examples=int(sys.argv[1]),
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(json.dumps(counts))
