"""Streamed pieces add up to the final text and contain no incomplete character."""

from collections.abc import Sequence

from dycoke_cli.engine.text_stream import TextStream

TEXT = "a naïve 视频 🎬 end"


def decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


def test_pieces_add_up_and_are_whole() -> None:
    """With one byte per token, multi-byte characters are returned when they are complete."""
    stream = TextStream(decode)
    pieces = [stream.push(byte) for byte in TEXT.encode()]
    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert stream.finish() == ""


def test_a_cut_character_comes_out_at_the_end() -> None:
    """An incomplete character is returned once, at the end, as the decoder returns it."""
    stream = TextStream(decode)
    assert [stream.push(byte) for byte in "é".encode()[:1]] == [""]
    assert stream.finish() == "\ufffd"
    assert stream.text == "\ufffd"
