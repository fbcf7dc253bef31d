"""A slow reference of DyCoke and Qwen2, written from the paper in float64 numpy.

Plain Python loops over frames, tokens, layers and heads; the key-value cache is a list. Only the weights are shared
with the package.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


def cosine(a: Vector, b: Vector) -> float:
    return float(a @ b / (math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))))


def round_to_nearest(x: float) -> int:
    return math.floor(x + 0.5)


def merge(frames: list[list[Vector]], k: float) -> list[list[int]]:
    """Return the token places of every frame that the first stage keeps, in raster order."""
    per_frame = len(frames[0])
    kept = [list(range(per_frame)) for _ in frames]
    for number in range(len(frames)):
        place_in_window = number % 4
        if place_in_window == 0:
            continue
        reference = number - 2 if place_in_window == 2 else number - 1
        similar = [(cosine(frames[number][i], frames[reference][i]), -i) for i in range(per_frame)]
        merged = sorted(similar, reverse=True)[: round_to_nearest(k * per_frame)]
        removed = {-i for _, i in merged}
        kept[number] = [i for i in range(per_frame) if i not in removed]
    return kept


@dataclass
class Qwen2:
    """A Qwen2 language model in numpy; cache[layer] is a list of (key, value)."""

    weights: dict[str, Vector]
    config: Any
    cache: list[list[tuple[Vector, Vector]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache = [[] for _ in range(self.config.num_hidden_layers)]
        self.heads = self.config.num_attention_heads
        self.kv_heads = self.config.num_key_value_heads
        self.dim = self.config.hidden_size // self.heads
        self.theta = self.config.rope_parameters["rope_theta"]

    def norm(self, x: Vector, name: str) -> Vector:
        scaled: Vector = x / math.sqrt(float(np.mean(x * x)) + self.config.rms_norm_eps) * self.weights[name]
        return scaled

    def linear(self, x: Vector, name: str) -> Vector:
        out: Vector = self.weights[f"{name}.weight"] @ x
        return out + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else out

    def rotate(self, head: Vector, position: int) -> Vector:
        half = self.dim // 2
        out = np.empty(self.dim)
        for i in range(half):
            angle = position / self.theta ** (2 * i / self.dim)
            a, b = head[i], head[i + half]
            out[i] = a * math.cos(angle) - b * math.sin(angle)
            out[i + half] = b * math.cos(angle) + a * math.sin(angle)
        return out

    def attend(self, query: Vector, layer: int, readable: list[int]) -> tuple[Vector, list[Vector]]:
        """Compute attention over the cache slots `readable`. Return the output and each head's softmax row."""
        out, rows = [], []
        for head in range(self.heads):
            group = head // (self.heads // self.kv_heads)
            q = query[head]
            logits = [float(q @ self.cache[layer][i][0][group]) / math.sqrt(self.dim) for i in readable]
            top = max(logits)
            exponentials = [math.exp(x - top) for x in logits]
            row = np.array(exponentials) / sum(exponentials)
            rows.append(row)
            mixed = np.zeros(self.dim)
            for weight, i in zip(row, readable, strict=True):
                mixed += weight * self.cache[layer][i][1][group]
            out.append(mixed)
        return np.concatenate(out), rows


@dataclass
class Stage2:
    """DyCoke's second stage: the visual tokens that layers from `l` on read."""

    visual: list[int]  # cache slots of the visual tokens
    l: int  # noqa: E741
    p: float
    gate: float
    active: list[int] | None = None
    reference: Vector | None = None

    def observe(self, scores: Vector) -> None:
        if self.reference is not None and cosine(scores, self.reference) >= self.gate:
            return
        keep = max(1, round_to_nearest((1 - self.p) * len(self.visual)))
        ranking = sorted(range(len(self.visual)), key=lambda i: -scores[i])
        self.active = sorted(ranking[:keep])
        self.reference = scores


def forward(model: Qwen2, embed: Vector, position: int, stage2: Stage2 | None) -> Vector:
    """Run one token through all layers and return its logits; `stage2` is None during the prefill."""
    x = embed
    for layer in range(model.config.num_hidden_layers):
        name = f"layers.{layer}"
        normed = model.norm(x, f"{name}.input_layernorm.weight")
        query, key, value = (model.linear(normed, f"{name}.self_attn.{part}_proj") for part in "qkv")
        query = np.stack([model.rotate(head, position) for head in query.reshape(model.heads, -1)])
        key = np.stack([model.rotate(head, position) for head in key.reshape(model.kv_heads, -1)])
        model.cache[layer].append((key, value.reshape(model.kv_heads, -1)))
        readable = list(range(len(model.cache[layer])))
        if stage2 is not None and layer >= max(stage2.l, 1):
            assert stage2.active is not None
            pruned = set(stage2.visual) - {stage2.visual[i] for i in stage2.active}
            readable = [i for i in readable if i not in pruned]
        mixed, rows = model.attend(query, layer, readable)
        if stage2 is not None and layer == max(stage2.l - 1, 0):
            stage2.observe(np.mean(rows, axis=0)[stage2.visual])
        x = x + model.linear(mixed, f"{name}.self_attn.o_proj")
        normed = model.norm(x, f"{name}.post_attention_layernorm.weight")
        gate = model.linear(normed, f"{name}.mlp.gate_proj")
        hidden = gate / (1 + np.exp(-gate)) * model.linear(normed, f"{name}.mlp.up_proj")
        x = x + model.linear(hidden, f"{name}.mlp.down_proj")
    return model.linear(model.norm(x, "norm.weight"), "lm_head")
