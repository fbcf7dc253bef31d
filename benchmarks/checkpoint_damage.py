"""Random mutations of a checkpoint folder; each changes one file or value.

Bytes are flipped and cut; headers, keys, configurations, tokenizers and indices are changed; files are replaced by
folders or pipes, or deleted. `fuzz_checkpoint` applies them.
"""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    0, 1, 2, 3, 7, -1, -(10**9), 10**9, 2**31, 2**63, 10**14, 10**40, 0.5, 1e300, float("nan"), float("inf"),
    "", "x", "1", None, True, False, [], [1], [10**9], {}, {"x": 1}, [None], ["x"],
)  # fmt: skip
NUMBERS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "vocab_size", "image_size", "patch_size", "depth", "num_heads", "out_hidden_size", "num_position_embeddings",
    "spatial_merge_size", "temporal_patch_size", "num_channels", "num_labels", "mm_vision_select_layer", "window_size",
)  # fmt: skip
EXTRA_KEYS = {
    "auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"},
    "_attn_implementation": "owner/kernel",
    "attn_implementation": "flash_attention_2",
    "dtype": "float999",
    "torch_dtype": "x",
    "quantization_config": {"quant_method": "torchao"},
    "transformers_weights": "../secret.safetensors",
    "num_labels": 10**9,
    "layer_types": ["sliding_attention"] * 6,
    "architectures": "x",
    "rope_scaling": {"rope_type": "yarn", "factor": 10**9},
}
TEXTS = (
    b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 100_000,
    b'{"a": ' + b"9" * 10_000 + b"}", b'{"a": NaN}', bytes(64),
)  # fmt: skip


def pick_file(rng: random.Random, folder: Path, pattern: str) -> Path:
    """Return a random file of a folder that matches a glob pattern."""
    return rng.choice(sorted(folder.glob(pattern)))


def flip_bytes(rng: random.Random, folder: Path) -> None:
    """Change single bytes, in half of the cases in the header."""
    path = pick_file(rng, folder, "*.safetensors")
    content = bytearray(path.read_bytes())
    end = len(content) if rng.random() < 0.5 else min(2000, len(content))
    for _ in range(rng.randint(1, 16)):
        content[rng.randrange(end)] ^= rng.randint(1, 255)
    path.write_bytes(content)


def cut(rng: random.Random, folder: Path) -> None:
    """Truncate a file, or append bytes to it."""
    path = pick_file(rng, folder, rng.choice(("*.safetensors", "*.json")))
    content = path.read_bytes()
    if rng.random() < 0.2:
        path.write_bytes(content + bytes(rng.randint(1, 100)))
    else:
        path.write_bytes(content[: rng.choice((0, 1, 7, 8, 9, len(content) - 1, rng.randrange(len(content))))])


def set_length(rng: random.Random, folder: Path) -> None:
    """Change the header length that a safetensors file declares."""
    path = pick_file(rng, folder, "*.safetensors")
    claimed = rng.choice((0, 1, 2, 8, 2**31, 2**63, 2**64 - 1, 10**14, path.stat().st_size))
    path.write_bytes(claimed.to_bytes(8, "little") + path.read_bytes()[8:])


def change_header(rng: random.Random, folder: Path) -> None:
    """Rename, delete, duplicate or change entries of a safetensors header; the weights' bytes stay."""
    path = pick_file(rng, folder, "*.safetensors")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = rng.choice([key for key in header if key != "__metadata__"])
    entry, text = header[name], None
    match rng.randrange(8):
        case 0:
            header[f"{name}x"] = header.pop(name)
        case 1:
            del header[name]
        case 2:
            entry["dtype"] = rng.choice(("F64", "F16", "I32", "BF16", "U8", "F4", "x", 3, None, ["F32"], "C64"))
        case 3:
            entry["shape"] = rng.choice(([], [0], [-1], [10**9] * 3, [2**63], ["x"], None, 3, [1.5], [1] * 100,
                                         entry["shape"][::-1], [*entry["shape"], 1]))  # fmt: skip
        case 4:
            begin, end = entry["data_offsets"]
            entry["data_offsets"] = rng.choice(
                ([end, begin], [begin, 2**62], [-8, end], [begin + 4, end + 4], [0, 4],
                 [begin], [begin, end, end], "x", None, [str(begin), end], [0.0, 4.0])
            )  # fmt: skip
        case 5:
            text = json.dumps(header)[:-1] + "," + json.dumps({name: entry})[1:]
        case 6:
            header[name] = rng.choice(ODD_VALUES)
        case 7:
            header["__metadata__"] = rng.choice(ODD_VALUES)
    new = (text or json.dumps(header)).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + content[8 + length :])


def change_json(rng: random.Random, folder: Path, name: str, keys: tuple[str, ...] = ()) -> None:
    """Change or delete one key of a JSON object or of a nested object; `keys` are preferred."""
    path = folder / name
    if not path.exists():
        path.write_text("{}")
    whole = json.loads(path.read_text())
    part = whole
    while True:
        inner = [value for value in part.values() if isinstance(value, dict) and value]
        if not inner or rng.random() < 0.4:
            break
        part = rng.choice(inner)
    present = [key for key in keys if key in part]
    key = rng.choice(present) if present and rng.random() < 0.7 else rng.choice([*part, *keys] or ["x"])
    if rng.random() < 0.15:
        part.pop(key, None)
    else:
        old = part.get(key)
        near = [old * 2, old // 2, old + 1, old - 1] if type(old) is int else []
        part[key] = rng.choice([*ODD_VALUES, *near, *near])
    path.write_text(json.dumps(whole))


def change_config(rng: random.Random, folder: Path) -> None:
    """Change config.json, mostly a number that determines the size of the model."""
    if rng.random() < 0.2:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        key = rng.choice(list(EXTRA_KEYS))
        part = rng.choice([config, *(value for value in config.values() if isinstance(value, dict))])
        part[key] = EXTRA_KEYS[key]
        path.write_text(json.dumps(config))
    else:
        change_json(rng, folder, "config.json", NUMBERS)


def change_kind(rng: random.Random, folder: Path) -> None:
    """Change the model type of a configuration or of a part of it."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    part = rng.choice([config, *(value for value in config.values() if isinstance(value, dict))])
    kinds = ("qwen2", "llama", "mistral", "bert", "mamba", "siglip_vision_model", "clip_vision_model", "qwen2_5_vl",
             "llava_onevision", "internvl", "qwen3_vl", "gpt2", "x", "", None, 3, [], {})  # fmt: skip
    part["model_type"] = rng.choice(kinds)
    path.write_text(json.dumps(config))


def change_tokenizer(rng: random.Random, folder: Path) -> None:
    """Change or delete one of the tokenizer's files."""
    name = rng.choice(("tokenizer.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json",
                       "special_tokens_map.json", "vocab.json", "merges.txt"))  # fmt: skip
    path = folder / name
    match rng.randrange(5):
        case 0 if path.exists():
            path.unlink()
        case 1 if path.exists():
            content = bytearray(path.read_bytes())
            for _ in range(8):
                content[rng.randrange(len(content))] ^= rng.randint(1, 127)
            path.write_bytes(content)
        case 2 if name == "tokenizer.json":
            whole = json.loads(path.read_text())
            vocabulary = whole["model"]["vocab"]
            for token in rng.sample(sorted(vocabulary), min(40, len(vocabulary))):
                vocabulary[token] = rng.choice((vocabulary[token] + 10**6, 2**32 - 1, 10**9))
            path.write_text(json.dumps(whole))
        case _ if name.endswith(".json"):
            change_json(rng, folder, name)
        case _:
            path.write_bytes(rng.choice(TEXTS))


def change_settings(rng: random.Random, folder: Path) -> None:
    """Change a configuration of generation or of preprocessing."""
    name = rng.choice(("generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json",
                       "processor_config.json"))  # fmt: skip
    keys = ("eos_token_id", "image_mean", "image_std", "size", "video_processor", "max_length", "temperature")
    change_json(rng, folder, name, keys)


def rewrite(rng: random.Random, folder: Path) -> None:
    """Replace a JSON file's content by invalid or unexpected text."""
    pick_file(rng, folder, "*.json").write_bytes(rng.choice(TEXTS))


def replace_file(rng: random.Random, folder: Path) -> None:
    """Replace a file by a folder, a pipe, a dangling link, a link to a device or an empty file, or delete it."""
    path = pick_file(rng, folder, "*")
    path.unlink()
    match rng.randrange(6):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to("nowhere")
        case 3:
            path.symlink_to("/dev/zero")
        case 4:
            path.touch()


def change_index(rng: random.Random, folder: Path) -> None:
    """Change a shard name in the index; a checkpoint without shards gets an index first."""
    path = folder / "model.safetensors.index.json"
    if not path.exists():
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        path.write_text(json.dumps({"weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}}))
    index = json.loads(path.read_text())
    files = index["weight_map"]
    name = rng.choice(list(files))
    files[name] = rng.choice(
        ("../secret.safetensors", "/etc/passwd", "/dev/zero", "missing.safetensors", "pytorch_model.bin", path.name,
         "..", ".", "", "x\0.safetensors", None, 3, ["x"], {}, next(iter(files.values())))
    )  # fmt: skip
    if rng.random() < 0.2:
        index["weight_map"] = rng.choice(ODD_VALUES)
    path.write_text(json.dumps(index))


def add_file(rng: random.Random, folder: Path) -> None:
    """Add a file that transformers might read instead, in half of the cases without the weights."""
    name = rng.choice(("pytorch_model.bin", "adapter_config.json", "model.safetensors.index.json", "model.gguf",
                       "shard-00000-model-00000-of-00001.safetensors", "custom_generate/generate.py"))  # fmt: skip
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    if rng.random() < 0.5:
        for path in folder.glob("model*.safetensors"):
            path.unlink()


MUTATIONS: tuple[Callable[[random.Random, Path], None], ...] = (
    flip_bytes,
    cut,
    set_length,
    change_header,
    change_config,
    change_config,
    change_config,
    change_kind,
    change_tokenizer,
    change_settings,
    rewrite,
    replace_file,
    change_index,
    add_file,
)
