from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components():
    target = "asd_example_detector.detector:MedianDeviation"
    spec = {"kind": "detector", "name": "median-deviation", "summary": "Deviation from the median", "licence": "MIT"}
    return [ComponentSpec(target=target, **spec)]
