"""Common code of the torch-based plugins: device and precision, fast inference in batches, safe reading of weights.

`ModuleExtractor` makes an extractor of any torch module.

::

    plan = asd_torch.plan(self.runtime)
    network = asd_torch.prepare(build_network(), plan)
    embeddings = asd_torch.run(network, values, plan, self.runtime.batch_size, default_batch_size=32)
"""

from asd_torch.batches import as_array, run
from asd_torch.device import Plan, full_precision, plan, resolved
from asd_torch.files import load_into, read_tensors
from asd_torch.module import ModuleExtractor
from asd_torch.network import prepare
from asd_torch.parallel import share_windows

__all__ = [
    "ModuleExtractor",
    "Plan",
    "as_array",
    "full_precision",
    "load_into",
    "plan",
    "prepare",
    "read_tensors",
    "resolved",
    "run",
    "share_windows",
]
