"""Operations in any order: memory and store agree, and nothing is ever half there."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lambda_platform import OTHER_ZIP, ROLE, ZIP, platform

from lambent.aws.errors import ApiError
from lambent.services.lambda_ import rows
from lambent.services.lambda_.catalogue import Catalogue
from lambent.testing.loop import run

NAMES = st.sampled_from(["f", "g"])
VERSIONS = st.sampled_from(["$LATEST", "1", "2", "3"])
ALIASES = st.sampled_from(["live", "next"])
PACKAGES = st.sampled_from([ZIP, OTHER_ZIP])
WEIGHTS = st.fixed_dictionaries(
    {"AdditionalVersionWeights": st.dictionaries(st.sampled_from(["1", "2", "3"]), st.floats(0, 1), max_size=2)}
)


def operation(name, required=None, **optional):
    required = {"FunctionName": NAMES} | (required or {})
    return st.tuples(st.just(name), st.fixed_dictionaries(required, optional=optional))


NEW = {
    "Code": st.builds(lambda data: {"ZipFile": data}, PACKAGES),
    "Runtime": st.sampled_from(["python3.13", "python3.10", "ruby3.4"]),
    "Handler": st.just("app.handler"),
    "Role": st.just(ROLE),
}
OPERATIONS = st.one_of(
    operation("CreateFunction", NEW, Publish=st.booleans()),
    operation("UpdateFunctionCode", {"ZipFile": PACKAGES}, Publish=st.booleans(), DryRun=st.booleans()),
    operation("UpdateFunctionConfiguration", Timeout=st.integers(1, 901), Runtime=NEW["Runtime"]),
    operation("PublishVersion", Description=st.text(max_size=3)),
    operation("CreateAlias", {"Name": ALIASES, "FunctionVersion": VERSIONS}, RoutingConfig=WEIGHTS),
    operation("UpdateAlias", {"Name": ALIASES}, FunctionVersion=VERSIONS, RoutingConfig=WEIGHTS),
    operation("DeleteAlias", {"Name": ALIASES}),
    operation("DeleteFunction", Qualifier=VERSIONS | ALIASES),
    operation("Invoke", Qualifier=VERSIONS | ALIASES, InvocationType=st.sampled_from(["Event", "DryRun"])),
    operation("GetFunction", Qualifier=VERSIONS | ALIASES),
    st.tuples(st.just("wait"), NAMES),
)


async def follow(lambda_, steps):
    """Takes the steps; the numbers of versions that were published, by the function's identity."""
    published = {}
    for name, params in steps:
        if name == "wait":
            for entry in list(lambda_.service.catalogue.all()):
                await lambda_.settled(entry.function.key.name)
            continue
        try:
            answer = await lambda_(name, **params)
        except ApiError:
            continue
        if name == "PublishVersion":
            entry = next(e for e in lambda_.service.catalogue.all() if e.function.key.name == params["FunctionName"])
            published.setdefault(entry.function.function_id, []).append(int(answer["Version"]))
    return published


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(OPERATIONS, max_size=25))
def test_memory_and_store_agree_after_any_sequence(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("lambda")

    async def main(clock):
        async with platform(folder, clock, pending_s=1.0) as lambda_:
            published = await follow(lambda_, steps)
            for numbers in published.values():
                assert numbers == sorted(numbers)
            for entry in list(lambda_.service.catalogue.all()):
                await lambda_.settled(entry.function.key.name)
                for alias in entry.aliases.values():
                    assert alias.versions <= entry.versions.keys()
                assert all(version.number < entry.function.next_number for version in entry.versions.values())
                assert entry.specs.keys() == entry.versions.keys()
            fresh = Catalogue(lambda_.service.packages.folder, lambda_.service.seal)
            fresh.put(*await lambda_.service.database.read(rows.everything))
            mine = {entry.function.key: entry for entry in lambda_.service.catalogue.all()}
            assert mine == {entry.function.key: entry for entry in fresh.all()}

    run(main)
