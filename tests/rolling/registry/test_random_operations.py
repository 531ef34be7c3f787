"""Random days of a registry against a plain model of it."""

import shutil
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keras_trainsteps.rolling import ModelRegistry
from tests.rolling.registry.days import FAILED, PASSED, bless, publish


class RegistryMachine(RuleBasedStateMachine):
    """Random days of a registry against a plain model of it."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.registry = ModelRegistry(self.folder)
        self.there, self.champions, self.made = set(), [], 0

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule()
    def publish(self):
        self.made += 1
        assert publish(self.registry, f"w{self.made}") == self.made
        self.there.add(self.made)

    @precondition(lambda self: self.there)
    @rule(data=st.data(), passed=st.booleans())
    def promote(self, data, passed):
        number = data.draw(st.sampled_from(sorted(self.there)))
        blessing = bless(self.registry, number, PASSED if passed else FAILED)
        if self.champions and self.champions[-1] == number:
            return
        if passed:
            self.registry.promote(number, blessing)
            self.champions.append(number)
        else:
            with pytest.raises(ValueError, match="must have passed"):
                self.registry.promote(number, blessing)

    @rule()
    def rollback(self):
        while len(self.champions) > 1 and self.champions[-2] not in self.there:
            del self.champions[-2]
        earlier = [n for n in self.champions[:-1] if n != self.champions[-1]]
        earlier = [n for n in earlier if n in self.there]
        if earlier:
            assert self.registry.rollback() == earlier[-1]
            self.champions = earlier
        else:
            with pytest.raises(ValueError, match="must have"):
                self.registry.rollback()

    @rule(newest=st.integers(1, 3))
    def retain(self, newest):
        gone = set(self.registry.retain(newest))
        assert not gone & {*self.champions[-1:], *sorted(self.there)[-newest:]}
        self.there -= gone

    @invariant()
    def agrees(self):
        assert self.registry.versions() == sorted(self.there)
        champion = self.registry.aliases().get("champion")
        assert champion == (self.champions[-1] if self.champions else None)
        if champion is not None:
            self.registry.verify("champion")


RegistryMachine.TestCase.settings = settings(stateful_step_count=25)
