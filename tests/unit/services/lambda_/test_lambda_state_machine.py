"""Functions, versions, aliases and concurrency beside a small model of them: any operations, in any order.

The model says what each operation answers, which errors it may answer instead, and what can be read afterwards.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from kept_platform import KeptPlatform
from lambda_platform import CALLER, OTHER_ZIP, ROLE, ZIP

from lambent.aws.errors import ApiError
from lambent.services.lambda_ import rows
from lambent.services.lambda_.catalogue import Catalogue

NAMES = st.sampled_from(["f", "g"])
NUMBERS = st.sampled_from(["1", "2", "3"])
VERSIONS = st.just("$LATEST") | NUMBERS
ALIASES = st.sampled_from(["live", "next"])
PACKAGES = {"one": ZIP, "two": OTHER_ZIP}
WEIGHTS = st.none() | st.dictionaries(NUMBERS, st.sampled_from([0.0, 0.25, 1.0]), max_size=1)
NOT_FOUND, CONFLICT, INVALID, THROTTLED, STALE = (
    "ResourceNotFoundException",
    "ResourceConflictException",
    "InvalidParameterValueException",
    "TooManyRequestsException",
    "PreconditionFailedException",
)


@dataclass
class Modelled:
    """What a function should be."""

    package: str
    timeout: int
    is_changing: bool = True
    next_number: int = 1
    newest: tuple = ()  # package and timeout of the version published last
    versions: dict = field(default_factory=dict)  # number -> (package, timeout)
    aliases: dict = field(default_factory=dict)  # name -> (version, {version: weight})
    reserved: int | None = None
    revision: str = ""

    def published(self):
        """The number of the version that publishing gives now."""
        if self.newest != (self.package, self.timeout):
            self.newest = (self.package, self.timeout)
            self.versions[str(self.next_number)] = self.newest
            self.next_number += 1
        return str(self.next_number - 1)

    def has(self, version):
        return version == "$LATEST" or version in self.versions

    def wrong_with(self, version, weights):
        """The errors that an alias for these may give."""
        wrong = set()
        if not all(self.has(each) for each in (version, *weights)):
            wrong.add(NOT_FOUND)
        if weights and (version == "$LATEST" or version in weights):
            wrong.add(INVALID)
        return wrong


class Functions(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lambent-machine-"))
        self.kept = KeptPlatform(self.folder, pending_s=1.0)
        self.there = {}

    def teardown(self):
        self.kept.do(self.agrees_with_the_store())
        self.kept.close()
        shutil.rmtree(self.folder)

    async def agrees_with_the_store(self):
        service = self.kept.platform.service
        for name in self.there:
            await self.kept.platform.settled(name)
        fresh = Catalogue(service.packages.folder, service.seal)
        fresh.put(*await service.database.read(rows.everything))
        assert {entry.function.key: entry for entry in service.catalogue.all()} == {
            entry.function.key: entry for entry in fresh.all()
        }

    def ask(self, operation, wrong=frozenset(), **params):
        """The answer, where nothing is wrong; else one of the errors that are expected, and None."""
        params = {name: value for name, value in params.items() if value is not None}
        try:
            answer = self.kept.do(self.kept.platform.service.operations()[operation](CALLER, params))
        except ApiError as error:
            assert error.code in wrong, (operation, params, wrong)  # noqa: PT017
            return None
        assert not wrong, (operation, params, "should have failed")
        return answer

    def wrong_with(self, name, *, changes=False, revision=None):
        """The errors of an operation on this function, a changing one perhaps."""
        if name not in self.there:
            return {NOT_FOUND}
        modelled = self.there[name]
        wrong = {CONFLICT} if changes and modelled.is_changing else set()
        return wrong | ({STALE} if revision is not None and revision != modelled.revision else set())

    def revision_of(self, name, is_right):
        """None, or a revision id to name: the right one or another."""
        if is_right is None or name not in self.there:
            return None
        return self.there[name].revision if is_right else "00000000-0000-4000-8000-000000000000"

    def has_changed(self, name, answer):
        modelled = self.there[name]
        assert answer["RevisionId"] != modelled.revision
        modelled.revision = answer["RevisionId"]
        modelled.is_changing = answer["LastUpdateStatus"] == "InProgress"

    # Functions

    @initialize(is_furnished=st.booleans(), version=VERSIONS)
    def furnish(self, is_furnished, version):
        """Half of the runs begin with something to work on, which chance alone seldom makes."""
        if is_furnished:
            self.create("f", "one", 1, publish=True)
            self.settle()
            self.update_configuration("f", 2, None)
            self.settle()
            self.publish("f")
            self.create_alias("f", "live", "1", {"2": 0.25})
            self.create_alias("f", "next", version, None)

    @rule(name=NAMES, package=st.sampled_from(sorted(PACKAGES)), timeout=st.integers(1, 3), publish=st.booleans())
    def create(self, name, package, timeout, publish):
        answer = self.ask(
            "CreateFunction",
            {CONFLICT} if name in self.there else set(),
            FunctionName=name,
            Runtime="python3.13",
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": PACKAGES[package]},
            Timeout=timeout,
            Publish=publish,
        )
        if answer:
            assert (answer["State"], answer["Timeout"]) == ("Pending", timeout)
            self.there[name] = modelled = Modelled(package, timeout)
            assert answer["Version"] == (modelled.published() if publish else "$LATEST")
            self.look_at(name)

    @rule(
        name=NAMES, package=st.sampled_from(sorted(PACKAGES)), publish=st.booleans(), revision=st.none() | st.booleans()
    )
    def update_code(self, name, package, publish, revision):
        revision_id = self.revision_of(name, revision)
        answer = self.ask(
            "UpdateFunctionCode",
            self.wrong_with(name, changes=True, revision=revision_id),
            FunctionName=name,
            ZipFile=PACKAGES[package],
            Publish=publish,
            RevisionId=revision_id,
        )
        if answer:
            modelled = self.there[name]
            modelled.package = package
            assert answer["Version"] == (modelled.published() if publish else "$LATEST")
            self.look_at(name)

    @rule(name=NAMES, timeout=st.integers(1, 3), revision=st.none() | st.booleans())
    def update_configuration(self, name, timeout, revision):
        revision_id = self.revision_of(name, revision)
        answer = self.ask(
            "UpdateFunctionConfiguration",
            self.wrong_with(name, changes=True, revision=revision_id),
            FunctionName=name,
            Timeout=timeout,
            RevisionId=revision_id,
        )
        if answer:
            self.there[name].timeout = timeout
            assert answer["Timeout"] == timeout
            self.has_changed(name, answer)

    @rule()
    def settle(self):
        """Time passes, for all."""
        for name in self.there:
            answer = self.kept.do(self.kept.platform.settled(name))
            assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "Successful")
            self.there[name].is_changing = False
            self.look_at(name)

    @rule(name=NAMES)
    def delete(self, name):
        self.ask("DeleteFunction", self.wrong_with(name), FunctionName=name)
        self.there.pop(name, None)

    def look_at(self, name):
        """What changes beside what was asked: the revision, and whether the change is in force."""
        answer = self.ask("GetFunctionConfiguration", FunctionName=name)
        self.there[name].revision = answer["RevisionId"]
        self.there[name].is_changing = answer.get("LastUpdateStatus") == "InProgress" or answer["State"] == "Pending"

    # Versions and aliases

    @rule(name=NAMES)
    def publish(self, name):
        answer = self.ask("PublishVersion", self.wrong_with(name, changes=True), FunctionName=name)
        if answer:
            assert answer["Version"] == self.there[name].published()
            self.look_at(name)

    @rule(name=NAMES, version=NUMBERS)
    def delete_version(self, name, version):
        wrong = self.wrong_with(name)
        modelled = self.there.get(name)
        if modelled and any(version in (held, *weights) for held, weights in modelled.aliases.values()):
            wrong = {CONFLICT}
        is_there = modelled and version in modelled.versions
        self.ask("DeleteFunction", wrong, FunctionName=name, Qualifier=version)
        if is_there and not wrong:
            del modelled.versions[version]
            if int(version) == modelled.next_number - 1:
                modelled.newest = ()  # nothing to compare with: publishing gives a new one

    @rule(name=NAMES, alias=ALIASES, version=VERSIONS, weights=WEIGHTS)
    def create_alias(self, name, alias, version, weights):
        wrong = self.wrong_with(name)
        if name in self.there:
            wrong |= self.there[name].wrong_with(version, weights or {})
            wrong |= {CONFLICT} if alias in self.there[name].aliases else set()
        routing = None if weights is None else {"AdditionalVersionWeights": weights}
        answer = self.ask(
            "CreateAlias", wrong, FunctionName=name, Name=alias, FunctionVersion=version, RoutingConfig=routing
        )
        if answer:
            self.there[name].aliases[alias] = (version, weights or {})

    @rule(name=NAMES, alias=ALIASES, version=st.none() | VERSIONS, weights=WEIGHTS)
    def update_alias(self, name, alias, version, weights):
        wrong = self.wrong_with(name)
        if name in self.there:
            before = self.there[name].aliases.get(alias)
            wrong |= set() if before else {NOT_FOUND}
            after = (version or (before or "?")[0], (before or ("", {}))[1] if weights is None else weights)
            wrong |= self.there[name].wrong_with(*after) if before else {INVALID}
        routing = None if weights is None else {"AdditionalVersionWeights": weights}
        answer = self.ask(
            "UpdateAlias", wrong, FunctionName=name, Name=alias, FunctionVersion=version, RoutingConfig=routing
        )
        if answer:
            self.there[name].aliases[alias] = after

    @rule(name=NAMES, alias=ALIASES)
    def delete_alias(self, name, alias):
        self.ask("DeleteAlias", self.wrong_with(name), FunctionName=name, Name=alias)
        if name in self.there:
            self.there[name].aliases.pop(alias, None)

    # Concurrency, and running

    @rule(name=NAMES, limit=st.sampled_from([0, 1, 450, 900, 901]))
    def reserve(self, name, limit):
        wrong = self.wrong_with(name)
        others = sum(each.reserved or 0 for key, each in self.there.items() if key != name)
        if name in self.there and others + limit > 900:
            wrong.add(INVALID)
        if self.ask("PutFunctionConcurrency", wrong, FunctionName=name, ReservedConcurrentExecutions=limit):
            self.there[name].reserved = limit

    @rule(name=NAMES)
    def unreserve(self, name):
        self.ask("DeleteFunctionConcurrency", self.wrong_with(name), FunctionName=name)
        if name in self.there:
            self.there[name].reserved = None

    @rule(name=NAMES, qualifier=st.none() | VERSIONS | ALIASES, kind=st.sampled_from(["RequestResponse", "DryRun"]))
    def invoke(self, name, qualifier, kind):
        wrong, may_run = self.wrong_with(name), set()
        if name in self.there:
            modelled = self.there[name]
            version, weights = modelled.aliases.get(qualifier, (qualifier or "$LATEST", {}))
            may_run = {version if weights.get(other) != 1.0 else other for other in weights or [""]}
            may_run |= {other for other, weight in weights.items() if weight}
            wrong |= set() if modelled.has(version) else {NOT_FOUND}
            if modelled.is_changing and "$LATEST" not in self.in_force(name):
                wrong |= {CONFLICT} if not wrong else set()
        answer = self.ask("Invoke", wrong, FunctionName=name, Qualifier=qualifier, InvocationType=kind)
        if answer and kind == "RequestResponse":
            assert answer["ExecutedVersion"] in may_run
            assert (answer["StatusCode"], answer.get("FunctionError")) == (200, None)

    def in_force(self, name):
        """`$LATEST`, unless the function has never been Active."""
        answer = self.ask("GetFunctionConfiguration", FunctionName=name)
        return set() if answer["State"] == "Pending" else {"$LATEST"}

    # What can be read

    @invariant()
    def each_alias_runs_one_of_its_versions(self):
        for name, modelled in self.there.items():
            for alias in modelled.aliases:
                self.invoke(name, alias, "RequestResponse")

    @invariant()
    def the_lists_say_what_is_there(self):
        functions = self.ask("ListFunctions")["Functions"]
        assert [each["FunctionName"] for each in functions] == sorted(self.there)
        assert [each["Timeout"] for each in functions] == [self.there[name].timeout for name in sorted(self.there)]

    @invariant()
    def versions_and_aliases_are_the_models(self):
        for name, modelled in self.there.items():
            versions = self.ask("ListVersionsByFunction", FunctionName=name)["Versions"]
            assert [each["Version"] for each in versions] == ["$LATEST", *sorted(modelled.versions, key=int)]
            expected = [modelled.timeout, *(modelled.versions[v][1] for v in sorted(modelled.versions, key=int))]
            assert [each["Timeout"] for each in versions] == expected
            aliases = self.ask("ListAliases", FunctionName=name)["Aliases"]
            shown = {
                each["Name"]: (
                    each["FunctionVersion"],
                    each.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}),
                )
                for each in aliases
            }
            assert shown == modelled.aliases

    @invariant()
    def what_is_reserved_is_the_models(self):
        total = 0
        for name, modelled in self.there.items():
            answer = self.ask("GetFunctionConcurrency", FunctionName=name)
            assert answer.get("ReservedConcurrentExecutions") == modelled.reserved
            total += modelled.reserved or 0
        limit = self.ask("GetAccountSettings")["AccountLimit"]
        assert limit["UnreservedConcurrentExecutions"] == 1000 - total

    @invariant()
    def reading_changes_no_revision(self):
        for name, modelled in self.there.items():
            answer = self.ask("GetFunction", FunctionName=name)["Configuration"]
            assert answer["RevisionId"] == modelled.revision
            assert answer["Version"] == "$LATEST"


TestFunctions = Functions.TestCase
TestFunctions.settings = settings(max_examples=30, stateful_step_count=25, suppress_health_check=list(HealthCheck))
