"""Streaming shows exactly the final text, and never half a character."""

from collections.abc import Sequence

from dycoke_cli.engine.text_stream import TextStream

TEXT = "a naïve 视频 🎬 end"


def decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


def test_pieces_add_up_and_are_whole() -> None:
    """One byte a token: multi-byte characters appear when they are complete."""
    stream = TextStream(decode)
    pieces = [stream.push(byte) for byte in TEXT.encode()]
    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert stream.finish() == ""


def test_a_cut_character_comes_out_at_the_end() -> None:
    """What never became whole is shown once, at the end, as the decoder shows it."""
    stream = TextStream(decode)
    assert [stream.push(byte) for byte in "é".encode()[:1]] == [""]
    assert stream.finish() == "\ufffd"
    assert stream.text == "\ufffd"
