"""The decoder computes what transformers' text models compute, from their weights alone."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.operators import Operators
from dycoke_cli.engine.prefill import PrefillAttention
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.errors import ModelError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.models.layer_weights import LayerWeights, join
from tests.conftest import golden_model
from tests.engine.test_generate import QUESTIONS, answer, frames, prompt_for, run

SIZES = {
    "vocab_size": 96, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
SECTIONS = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
# One model of each kind of layer, with every variant of biases, head widths and key heads.
MODELS = {
    "qwen2": lambda: transformers.Qwen2Model(
        transformers.Qwen2Config(**{**SIZES, "num_attention_heads": 3, "num_key_value_heads": 1})
    ),
    "qwen3": lambda: transformers.Qwen3Model(transformers.Qwen3Config(**SIZES, head_dim=16)),
    "llama": lambda: transformers.LlamaModel(transformers.LlamaConfig(**SIZES)),
    "llama with biases": lambda: transformers.LlamaModel(
        transformers.LlamaConfig(**{**SIZES, "num_key_value_heads": 6}, attention_bias=True, mlp_bias=True)
    ),
    "mistral": lambda: transformers.MistralModel(transformers.MistralConfig(**SIZES, sliding_window=None)),
    "qwen2.5-vl": lambda: transformers.Qwen2_5_VLTextModel(
        transformers.models.qwen2_5_vl.Qwen2_5_VLTextConfig(
            **{**SIZES, "num_attention_heads": 3, "num_key_value_heads": 1}, rope_parameters=SECTIONS
        )
    ),
    "qwen3-vl": lambda: transformers.Qwen3VLTextModel(
        transformers.models.qwen3_vl.Qwen3VLTextConfig(**SIZES, head_dim=16, rope_parameters=SECTIONS)
    ),
}


def language_model(name: str) -> LanguageModel:
    """A model with random weights in every parameter, norms and biases too."""
    torch.manual_seed(0)
    body = MODELS[name]().eval()
    for weight in body.parameters():
        nn.init.normal_(weight, std=0.3)
    return LanguageModel(body, nn.Linear(48, 96, bias=False))


def hidden_states(model: LanguageModel, embeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    buffer = KVBuffer.empty(model, len(embeds), embeds.shape[1])
    decoder = Decoder(model, Operators())
    return decoder.operators.norm(
        decoder.run(embeds, positions, PrefillAttention(buffer, embeds.shape[1])), *model.norm
    )


@torch.inference_mode()
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_decoder_is_the_stock_forward(name: str, joined: bool) -> None:
    """Hidden states are equal for every kind of layer, for positions that count frames too."""
    model = language_model(name)
    embeds = torch.randn(2, 11, 48)
    positions = torch.arange(11).repeat(2, 1) + 5
    if hasattr(model.body.rotary_emb, "mrope_section"):
        positions = torch.randint(40, (3, 2, 11))
    wanted = model.body(inputs_embeds=embeds, position_ids=positions, use_cache=False).last_hidden_state
    if joined:
        join(model.body)
        assert all(layer.qkv.joined and layer.gate_up.joined for layer in model.weights)
    torch.testing.assert_close(hidden_states(model, embeds, positions), wanted, atol=1e-5, rtol=1e-5)


def test_joining_moves_weights_and_changes_none() -> None:
    """The parameters are views of one tensor with the values of before; a part of the memory has one owner."""
    plain, model = language_model("qwen2"), language_model("qwen2")
    join(model.body)
    for before, after in zip(plain.body.state_dict().values(), model.body.state_dict().values(), strict=True):
        assert torch.equal(before, after)
    for layer in model.body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for parts in ((attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)):
            storages = [part.weight.untyped_storage() for part in parts]
            assert len({storage.data_ptr() for storage in storages}) == 1
            assert storages[0].nbytes() == sum(part.weight.nbytes for part in parts)
    weights = LayerWeights.of(model.body.layers[0])
    assert weights.qkv.joined is not None
    model.body.layers[0].self_attn.k_proj.weight.data.zero_()
    assert weights.qkv.joined[0][48 : 48 + 16].eq(0).all()  # it is the parameter's own memory


def test_a_feed_forward_network_in_pieces_is_the_whole(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces of a long prompt, of one row or of several, change no logits."""
    prompts = [prompt_for(tiny, frames(count), QUESTIONS[0], Dycoke()) for count in (6, 9)]
    wanted = run(tiny, prompts, Dycoke(), new=3)
    monkeypatch.setattr("dycoke_cli.engine.decoder.PIECE", {"cpu": 14})
    ours = run(tiny, prompts, Dycoke(), new=3)
    for row in range(2):
        assert answer(ours, row) == answer(wanted, row)
    torch.testing.assert_close(ours[0].logits, wanted[0].logits, atol=1e-5, rtol=0)


def forwards(model: Llava) -> Iterator[nn.Module]:
    """Yield the modules of the text model whose forward the engine must not call: all but the rotary angles."""
    text = model.model.model.language_model
    yield from (module for name, module in text.named_modules() if "rotary" not in name)
    yield model.model.lm_head


@pytest.mark.parametrize("method", ["dycoke", "fastv+dynamic"])
def test_no_forward_of_the_text_model_is_called(method: str) -> None:
    """Neither of the model nor of a part of it, in prefill and steps."""
    from dycoke_cli.methods.options import make_method

    model, chosen = golden_model("tiny-ov"), make_method(method, {})
    prompt = prompt_for(model, frames(6), QUESTIONS[0], chosen)

    def refuse(module: nn.Module, inputs: Any) -> None:
        raise AssertionError(f"the forward of {type(module).__name__} was called")

    hooks = [module.register_forward_pre_hook(refuse) for module in forwards(model)]
    try:
        stop = Stop(frozenset(), 4)
        assert len(list(generate(model.language_model, [prompt], chosen, stop, Sampling()))) == 4
        with pytest.raises(AssertionError, match="was called"):
            model.model.model.language_model(inputs_embeds=prompt.embeds[None])
    finally:
        for hook in hooks:
            hook.remove()


def test_other_layers_are_refused_by_name() -> None:
    """A layer of another kind, a part that the decoder would leave out, and another activation."""
    gemma = transformers.GemmaModel(transformers.GemmaConfig(**SIZES, head_dim=8))
    with pytest.raises(ModelError, match="GemmaDecoderLayer"):
        join(gemma)
    model = language_model("llama").body
    model.layers[1].mlp.router = nn.Linear(48, 4)
    with pytest.raises(ModelError, match=r"mlp\.router"):
        LayerWeights.of(model.layers[1])
    gelu = transformers.LlamaModel(transformers.LlamaConfig(**SIZES, hidden_act="gelu"))
    with pytest.raises(ModelError, match="GELU"):
        join(gelu)


def test_a_decoder_serves_one_session(tiny: Llava) -> None:
    """A store returns the same decoder for the same model, which captured steps refer to."""
    store = GraphStore(torch.device("cpu"))
    assert store.decoder(tiny.language_model) is store.decoder(tiny.language_model)
    assert store.decoder(language_model("qwen2")) is not store.decoder(tiny.language_model)
