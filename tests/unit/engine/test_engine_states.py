import pytest

from lambent.engine.states import TRANSITIONS, Happening, ImpossibleTransitionError, Phase, after


def test_a_life_from_init_to_the_end() -> None:
    phase = Phase.INIT
    for happening in (Happening.READY, Happening.ASSIGNED, Happening.RESPONDED, Happening.RETIRED, Happening.EXITED):
        phase = after(phase, happening)
    assert phase is Phase.GONE


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("happening", Happening)
def test_what_the_table_does_not_name_is_refused(phase: Phase, happening: Happening) -> None:
    if (phase, happening) in TRANSITIONS:
        assert after(phase, happening) is TRANSITIONS[phase, happening]
    else:
        with pytest.raises(ImpossibleTransitionError, match=f"{happening.name} in phase {phase.name}"):
            after(phase, happening)


def test_nothing_follows_the_end() -> None:
    assert not [key for key in TRANSITIONS if key[0] is Phase.GONE]


def test_every_phase_ends_when_its_process_does() -> None:
    living = set(Phase) - {Phase.GONE}
    assert {phase for phase in living if after(phase, Happening.EXITED) is Phase.GONE} == living
