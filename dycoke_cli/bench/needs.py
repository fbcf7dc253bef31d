"""What the phases of a run have to compute and to read at least: arithmetic, to be set beside measured limits."""

from statistics import fmean

from dycoke_cli.bench.case import Case, Counts, Needs
from dycoke_cli.comparison.depth import Depth, keys_by_step, visual_by_layer
from dycoke_cli.models.flops import TextShape, true_flops
from dycoke_cli.models.language_model import LanguageModel


def needs_of(model: LanguageModel, case: Case, counts: Counts, depth: Depth) -> Needs:
    """Compute them for a whole batch.

    A decode step reads every weight of the layers and of the output layer once, whatever the batch, and of each row
    the keys and values that its layers attend to.
    """
    visual = visual_by_layer(counts.entered, counts.kept, model.layers, depth)
    prefill = true_flops(TextShape.of(model.body.config), [count + counts.others for count in visual], [])
    steps = keys_by_step(counts.read, visual, counts.others, depth)
    keys = fmean(map(sum, steps)) if steps else 0.0  # summed over the layers
    return Needs(
        prefill_flops=case.batch * prefill,
        weight_bytes=step_weight_bytes(model),
        kv_bytes=round(case.batch * keys * model.kv_bytes_per_token / model.layers),
    )


def step_weight_bytes(model: LanguageModel) -> int:
    """Count the bytes of the weights that a decode step reads; of the embeddings it needs a row only."""
    parts = (model.body.layers, model.body.norm, model.head)
    return sum(weight.numel() * weight.element_size() for part in parts for weight in part.parameters())
