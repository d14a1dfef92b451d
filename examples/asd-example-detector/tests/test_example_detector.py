from asd.testing import parametrize_with_checks


@parametrize_with_checks(["asd-example-detector:median-deviation"])
def test_conformance(check):
    check()
