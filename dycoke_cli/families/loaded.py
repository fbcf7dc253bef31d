"""What all families have in common: a transformers model, a tokenizer, and what follows from them alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dycoke_cli.language_model import LanguageModel

# Frames that pass the vision tower together: enough to fill the device, few enough to stay below the prefill's peak.
CHUNK = {"cpu": 4, "cuda": 16}


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model; its parts are used and never changed.

    end_of_turn: the token that ends an answer, besides those that the model's own generation settings name.
    """

    model: Any
    tokenizer: Any
    end_of_turn: ClassVar[str] = "<|im_end|>"

    @property
    def language_model(self) -> LanguageModel:
        """The part that the engine runs."""
        return LanguageModel(self.model.model.language_model, self.model.lm_head)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters, shared ones counted once."""
        return sum(weight.numel() * weight.element_size() for weight in self.model.parameters())

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        ids = [*ids, self.tokenizer.convert_tokens_to_ids(self.end_of_turn)]
        return frozenset(token for token in ids if token is not None)

    def tokenize(self, text: str) -> list[int]:
        """Turn text into token ids, special tokens recognised, none added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn answer tokens into text, special tokens left out."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text
