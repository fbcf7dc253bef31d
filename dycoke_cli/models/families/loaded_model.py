"""What all families have in common: a transformers model, a tokenizer, and what follows from them alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dycoke_cli.errors import ModelError
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.models.quantization import weight_bytes
from dycoke_cli.system.free_memory import free_bytes

# Frames that pass the vision tower together at most: enough to fill the device, few enough to stay below the prefill's
# peak. Where memory is short they are fewer, and take no more than this share of what is free.
CHUNK = {"cpu": 4, "cuda": 16}
SHARE_OF_FREE = 0.25
OTHER_FILES = "The tokenizer's files or config.json are another model's: fetch or copy the model again"


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model; its parts are used and never changed.

    end_of_turn: the token that ends an answer, besides those that the model's own generation settings name.
    quantizable: whether it loads with fewer bits.
    """

    model: Any
    tokenizer: Any
    end_of_turn: ClassVar[str] = "<|im_end|>"
    quantizable: ClassVar[bool] = False

    @property
    def language_model(self) -> LanguageModel:
        """The part that the engine runs."""
        return LanguageModel(self.model.model.language_model, self.model.lm_head)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters, shared ones counted once."""
        return weight_bytes(self.model)

    @property
    def frames_per_patch(self) -> int:
        """How many frames become one: see `frames` in the glossary of `tokens`."""
        return 1

    @property
    def levels(self) -> int:
        """How many layers of the vision tower give features of their own: see the glossary of `tokens`."""
        return 0

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer. Raises ModelError where generation_config.json has something else there."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        if any(token is not None and type(token) is not int for token in ids):
            told = f"generation_config.json has eos_token_id={str(configured)[:80]}, which are no tokens"
            raise ModelError(told, "Fetch or copy the model again")
        ids = [*ids, self.tokenizer.convert_tokens_to_ids(self.end_of_turn)]
        return frozenset(token for token in ids if token is not None)

    def together(self, patches: int) -> int:
        """Say how many frames, of so many patches each, pass the vision tower together."""
        device = self.language_model.device
        most = CHUNK[device.type]
        if device.type != "cuda":
            return most
        frame = self.tower_numbers(patches) * self.language_model.dtype.itemsize
        return max(1, min(most, int(SHARE_OF_FREE * free_bytes(device)) // frame))

    def tower_numbers(self, patches: int) -> int:
        """Count the numbers alive at once while a layer of the vision tower works on so many patches.

        Two of the feed-forward part's widest, and the residual stream beside them.
        """
        vision = self.model.config.vision_config
        return patches * int(2 * vision.intermediate_size + 6 * vision.hidden_size)

    def next_turn_ids(self, question: str) -> list[int]:
        """Tokenize what comes between an answer and the next one: the end of its turn, and the question."""
        return self.tokenize(f"{self.end_of_turn}\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")

    def tokenize(self, text: str) -> list[int]:
        """Turn text into token ids, special tokens recognised, none added.

        Raises ModelError for a tokenizer with tokens that the model does not know.
        """
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        known = int(self.model.config.get_text_config().vocab_size)
        if ids and max(ids) >= known:
            raise ModelError(f"the tokenizer has a token {max(ids)}, and the model knows {known}", OTHER_FILES)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn answer tokens into text, special tokens left out."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text
