"""The feature table and the tests agree, in both directions."""

from tests.requirements import DONE, FAULTS, FEATURES, proofs


def test_every_row_marked_done_is_proved_by_a_test():
    assert sorted(DONE - proofs().keys()) == []


def test_tests_name_only_rows_of_the_tables():
    assert sorted(proofs().keys() - FEATURES.keys() - FAULTS) == []
    assert sorted(DONE - FEATURES.keys()) == []
