"""LoadedModel: base class of all families, a transformers model with its tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dycoke_cli.errors import ModelError
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.models.quantization import weight_bytes
from dycoke_cli.system.free_memory import free_bytes

# Frames (patches in time) per pass of the vision tower, at most: enough to fill the device, few enough to need less
# memory than the prefill. On CUDA a pass also takes at most SHARE_OF_FREE of the free memory.
CHUNK = {"cpu": 4, "cuda": 16}
SHARE_OF_FREE = 0.25
MISMATCH_REMEDY = "The tokenizer's files or config.json are another model's: fetch or copy the model again"


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model with its tokenizer; neither is ever modified.

    end_of_turn: the token that ends an answer, besides those in the model's generation settings.
    quantizable: whether the model can be loaded quantised.
    """

    model: Any
    tokenizer: Any
    end_of_turn: ClassVar[str] = "<|im_end|>"
    quantizable: ClassVar[bool] = False

    @property
    def language_model(self) -> LanguageModel:
        """The decoder and output layer that the engine runs."""
        return LanguageModel(self.model.model.language_model, self.model.lm_head)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters, shared ones counted once."""
        return weight_bytes(self.model)

    @property
    def frames_per_patch(self) -> int:
        """Sampled frames per patch in time: see `frames` in the glossary of `tokens`."""
        return 1

    @property
    def levels(self) -> int:
        """Number of DeepStack layers of the vision tower: see `levels` in the glossary of `tokens`."""
        return 0

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer. Raises ModelError for an invalid eos_token_id in generation_config.json."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        if any(token is not None and type(token) is not int for token in ids):
            message = f"generation_config.json has eos_token_id={str(configured)[:80]}, which is no token id"
            raise ModelError(message, "Fetch or copy the model again")
        ids = [*ids, self.tokenizer.convert_tokens_to_ids(self.end_of_turn)]
        return frozenset(token for token in ids if token is not None)

    def frames_per_chunk(self, patches: int) -> int:
        """Return how many frames, of `patches` patches each, pass the vision tower at once."""
        device = self.language_model.device
        most = CHUNK[device.type]
        if device.type != "cuda":
            return most
        frame_bytes = self.tower_activations(patches) * self.language_model.dtype.itemsize
        return max(1, min(most, int(SHARE_OF_FREE * free_bytes(device)) // frame_bytes))

    def tower_activations(self, patches: int) -> int:
        """Return the peak number of activations in a layer of the vision tower for `patches` patches.

        Two of width `intermediate` in the feed-forward network, and six of width `hidden` beside them.
        """
        vision = self.model.config.vision_config
        return patches * int(2 * vision.intermediate_size + 6 * vision.hidden_size)

    def next_turn_ids(self, question: str) -> list[int]:
        """Tokenize the text between an answer and the next one: the end of the turn, and the question."""
        return self.tokenize(f"{self.end_of_turn}\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")

    def tokenize(self, text: str) -> list[int]:
        """Tokenize text; special tokens in it are recognised, none are added.

        Raises ModelError for a token that the model has no embedding for.
        """
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        size = int(self.model.config.get_text_config().vocab_size)
        if ids and max(ids) >= size:
            raise ModelError(f"the tokenizer has a token {max(ids)}, the model's vocabulary {size}", MISMATCH_REMEDY)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Decode answer tokens to text, without special tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text
