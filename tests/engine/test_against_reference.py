"""`variant=paper` has the token sets and logits of a slow reference written from the paper, at every step."""

import numpy as np
import pytest
import torch

from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.models.families.llava import BEFORE, Llava
from tests.conftest import clip_frames
from tests.engine.reference import Qwen2, Stage2, Vector, forward, merge
from tests.engine.test_generate import read_set

CASES = [
    (1, Dycoke()),
    (2, Dycoke(k=0.5, l=0)),
    (3, Dycoke(k=0.9, p=0.5, l=1)),
    (6, Dycoke(k=0.3, p=0.9, gate=2.0)),
    (7, Dycoke(positions="original")),
    (8, Dycoke(k=1.0, p=1.0, l=7)),
    (9, Dycoke(k=0.0, p=0.7, gate=0.99)),
    (5, Dycoke(k=0.7, p=0.0)),
]
NEW = 6


def slow_model(model: Llava) -> Qwen2:
    named = {**dict(model.language_model.body.named_parameters())}
    weights = {name: weight.detach().double().numpy() for name, weight in named.items()}
    weights["lm_head.weight"] = model.language_model.head.weight.detach().double().numpy()
    return Qwen2(weights, model.language_model.body.config)


@pytest.mark.parametrize(("count", "method"), CASES, ids=repr)
def test_paper_variant(tiny: Llava, count: int, method: Dycoke) -> None:
    """Kept tokens, active sets, logits and generated tokens are equal at every step, for whole and partial windows."""
    whole = tiny.encode(clip_frames()[2 : 2 + count].numpy())
    tokens = method.compress(whole)
    per_frame = whole.grid.per_frame
    features = whole.features.double().numpy().reshape(count, per_frame, -1)
    kept_places = merge([list(frame) for frame in features], method.k)
    kept = [frame * per_frame + place for frame, places in enumerate(kept_places) for place in places]
    assert tokens.index.tolist() == kept

    before, after = tiny.tokenize(BEFORE), tiny.question_ids("What happens?", [], 0.0)
    prompt = tiny.prompt(tokens, after, method.positions)
    with torch.inference_mode():
        steps = list(generate(tiny.language_model, [prompt], method, Stop(tiny.stop_ids, NEW), Sampling()))

    slow = slow_model(tiny)
    table = slow.weights["embed_tokens.weight"]
    newline = tiny.model.model.image_newline.detach().double().numpy()
    flat = features.reshape(count * per_frame, -1)
    sequence: list[Vector] = [*table[before], *flat[kept], newline, *table[after]]
    numbers = list(range(len(sequence)))
    if method.positions == "original":
        last = len(before) + len(flat)
        numbers = [
            *range(len(before)), *(len(before) + i for i in kept), last, *range(last + 1, last + 1 + len(after))
        ]  # fmt: skip
    for embed, number in zip(sequence, numbers, strict=True):
        logits = forward(slow, embed, number, None)
    stage2 = Stage2(list(range(len(before), len(before) + len(kept))), method.l, method.p, method.gate)
    for step in steps:
        if step.number:
            logits = forward(slow, table[steps[step.number - 1].tokens[0]], numbers[-1] + step.number, stage2)
            assert (read_set(step) or set(range(len(kept)))) == set(stage2.active or ())
        np.testing.assert_allclose(step.logits[0].numpy(), logits, atol=1e-5)
        assert step.tokens[0] == int(np.argmax(logits))


def test_the_set_changes_and_recalls(tiny: Llava) -> None:
    """In the comparison above, active sets change at some steps but not at all, and compression changes the logits."""
    method = Dycoke(gate=0.9)
    tokens = method.compress(tiny.encode(clip_frames().numpy()))
    prompt = tiny.prompt(tokens, tiny.question_ids("What happens?", [], 0.0), "packed")
    stop = Stop(frozenset(), 24)
    steps = list(generate(tiny.language_model, [prompt], method, stop, Sampling()))
    changed = [bool(step.selection.changed[0]) for step in steps[1:] if step.selection]
    sets = [read_set(step) for step in steps[1:]]
    assert True in changed
    assert False in changed
    assert all((now == then) or moved for now, then, moved in zip(sets[1:], sets, changed[1:], strict=False))
    plain = list(generate(tiny.language_model, [prompt], Dycoke(p=0), stop, Sampling()))
    assert (plain[1].logits - steps[1].logits).abs().max() > 1e-2
