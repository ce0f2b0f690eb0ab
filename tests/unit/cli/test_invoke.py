"""A run's figures, from its REPORT line."""

from lambent.cli.invoke import figures

WARM = (
    "START RequestId: 1 Version: $LATEST\nEND RequestId: 1\n"
    "REPORT RequestId: 1\tDuration: 41.20 ms\tBilled Duration: 42 ms\tMemory Size: 128 MB\tMax Memory Used: 71 MB\t\n"
)
COLD = WARM.replace("71 MB\t\n", "71 MB\tInit Duration: 141.00 ms\t\n").replace("Duration: 42", "Duration: 183")


def test_a_warm_run():
    assert figures(WARM) == "warm 41 ms, billed 42 ms, 71 of 128 MB"


def test_a_cold_run_shows_its_init():
    assert figures(COLD) == "cold 182 ms (init 141 ms), billed 183 ms, 71 of 128 MB"


def test_a_log_without_a_report_has_no_figures():
    assert figures("START RequestId: 1\n") is None
