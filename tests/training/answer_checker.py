"""Check answers from the text of a question and the state of each frame.

An independent implementation: it shares no rule with the code that draws the questions.
"""

from __future__ import annotations

import re

from training.timeline import Timeline

COLOURS = r"\b(?:red|green|blue|yellow|purple|orange|white|black)\b"
SHAPES = r"\b(?:cube|ball|cone|cylinder|ring|star)s?\b"
NUMBERS = ("zero", "one", "two", "three", "four", "five")
NAME = rf"(?:{COLOURS} )?{SHAPES}"


def states(timeline: Timeline) -> list[dict[int, tuple[str, str, float, float]]]:
    """Return the visible things of each frame: number -> (colour, shape, x, y)."""
    return [
        {
            track.number: (track.colours[frame], track.shape, *track.places[frame].tolist())
            for track in timeline.tracks
            if track.visible[frame]
        }
        for frame in range(timeline.frames)
    ]


def words(text: str) -> tuple[list[str], list[str]]:
    """Return the colours and the shapes in a text."""
    return re.findall(COLOURS, text), [shape.removesuffix("s") for shape in re.findall(SHAPES, text)]


def called(timeline: Timeline, text: str) -> set[int]:
    """Return the things that fit the colours and shapes in a text in their first visible frame."""
    colours, shapes = words(text)
    firsts: dict[int, tuple[str, str]] = {}
    for frame in states(timeline):
        for number, (colour, shape, _, _) in frame.items():
            firsts.setdefault(number, (colour, shape))
    return {
        number
        for number, (colour, shape) in firsts.items()
        if (not colours or colour in colours) and (not shapes or shape in shapes)
    }


def only(timeline: Timeline, text: str) -> int:
    """Return the one thing that a text names."""
    (number,) = called(timeline, text)
    return number


def seen(timeline: Timeline, number: int) -> list[tuple[int, tuple[str, str, float, float]]]:
    """Return the frames in which a thing is visible, with its state."""
    return [(at, frame[number]) for at, frame in enumerate(states(timeline)) if number in frame]


def place(x: float, y: float) -> str:
    """Return the name of the cell of a 3 by 3 grid that contains a point."""
    across, down = ("left", "", "right")[min(int(x * 3), 2)], ("top", "", "bottom")[min(int(y * 3), 2)]
    if not across and not down:
        return "in the middle"
    return f"at the {down} {across}".strip() if down else f"on the {across}"


def clauses(timeline: Timeline) -> list[tuple[int, str]]:
    """Return the occurrences as (frame, clause), from differences between frames."""
    found = []
    for number in {number for frame in states(timeline) for number in frame}:
        shown = seen(timeline, number)
        (first, (colour, shape, x, y)), (last, (_, _, end_x, end_y)) = shown[0], shown[-1]
        name = f"{colour} {shape}"
        an = "an" if colour == "orange" else "a"
        if first > 0:
            verb = "appears" if last == timeline.frames - 1 else "flashes up"
            found.append((first, f"{an} {name} {verb} {place(x, y)}"))
        elif last < timeline.frames - 1:
            found.append((last + 1, f"the {name} disappears"))
        changed = [(at, state[0]) for at, state in shown if state[0] != colour]
        if changed:
            back = " for a moment" if shown[-1][1][0] == colour else ""
            found.append((changed[0][0], f"the {name} turns {changed[0][1]}{back}"))
        over, down = end_x - x, end_y - y
        if max(abs(over), abs(down)) >= 0.15:
            way = ("right" if over > 0 else "left") if abs(over) > abs(down) else ("down" if down > 0 else "up")
            begun = next(at for at, state in shown if max(abs(state[2] - x), abs(state[3] - y)) > 0.03)
            found.append((begun, f"the {name} moves {way}"))
    return sorted(found)


def is_true(timeline: Timeline, text: str, answer: str, kind: str) -> bool:
    """Return whether an answer to a question of a kind is true."""
    return _CHECKS[kind](timeline, text.lower(), answer)


def _colour(timeline: Timeline, text: str, answer: str) -> bool:
    return {state[0] for _, state in seen(timeline, only(timeline, text))} == {answer}


def _shape(timeline: Timeline, text: str, answer: str) -> bool:
    return seen(timeline, only(timeline, text))[0][1][1] == answer


def _exists(timeline: Timeline, text: str, answer: str) -> bool:
    colour, shape = words(text)
    shown = [state for frame in states(timeline) for state in frame.values()]
    there = any((not colour or one[0] in colour) and (not shape or one[1] in shape) for one in shown)
    return answer == ("yes" if there else "no")


def _count(timeline: Timeline, text: str, answer: str) -> bool:
    colour, shape = words(text)
    numbers = {
        sum((not colour or one[0] in colour) and (not shape or one[1] in shape) for one in frame.values())
        for frame in states(timeline)
    }
    return numbers == {NUMBERS.index(answer)}


def _background(timeline: Timeline, text: str, answer: str) -> bool:
    return answer == timeline.background


def _position(timeline: Timeline, text: str, answer: str) -> bool:
    shown = seen(timeline, only(timeline, text))
    at_end = re.search(r"end", text) or ("does" in text and "go" in text)
    at = shown[-1 if at_end else 0][1]
    return answer == place(at[2], at[3])


def _relation(timeline: Timeline, text: str, answer: str) -> bool:
    names = re.findall(NAME, text)
    (one, other) = (seen(timeline, only(timeline, name))[0][1][2:] for name in names)
    (relation,) = re.findall(r"left|right|above|below|higher|lower", text)
    axis = 0 if relation in ("left", "right") else 1
    first = one[axis] < other[axis] if relation in ("left", "above", "higher") else one[axis] > other[axis]
    if answer in ("yes", "no"):
        return answer == ("yes" if first else "no")
    return answer == f"the {names[0] if first else names[1]}"


def _motion(timeline: Timeline, text: str, answer: str) -> bool:
    moves = {clause.removeprefix("the ") for _, clause in clauses(timeline) if " moves " in clause}
    if re.search(SHAPES, text) is None:
        return len(moves) == 1 and answer == "the " + " ".join(next(iter(moves)).split()[:2])
    (_, (colour, shape, *_)) = seen(timeline, only(timeline, text))[0]
    if answer == "it stays still":
        return not any(move.startswith(f"{colour} {shape}") for move in moves)
    return f"{colour} {shape} moves {answer}" in moves


def _order(timeline: Timeline, text: str, answer: str) -> bool:
    told = [clause for _, clause in clauses(timeline)]
    text = text.rstrip("?.")
    named = [clause for clause in told if clause in text]
    if not named:
        return answer == told[-1 if re.search(r"last|end", text) else 0]
    if len(named) == 2:
        return answer == min(named, key=told.index)
    step = -1 if "before" in text else 1
    return answer == told[told.index(named[0]) + step]


def _change(timeline: Timeline, text: str, answer: str) -> bool:
    turns = [clause for _, clause in clauses(timeline) if " turns " in clause]
    if re.search(f"{COLOURS}|{SHAPES}", text) is None:
        return len(turns) == 1 and turns[0].startswith(f"{answer} turns")
    (_, (colour, shape, *_)) = seen(timeline, only(timeline, text))[0]
    own = [clause for clause in turns if clause.startswith(f"the {colour} {shape} ")]
    if answer in ("yes", "no"):
        return answer == ("yes" if own else "no")
    if re.search("first|start|before", text):
        return answer == colour and len(own) == 1
    return own[0].removesuffix(" for a moment").endswith(f"turns {answer}")


def _event(timeline: Timeline, text: str, answer: str) -> bool:
    told = [clause for _, clause in clauses(timeline)]
    if re.search(SHAPES, text):
        (_, (colour, shape, *_)) = seen(timeline, only(timeline, text))[0]
        return [clause.partition(f"{colour} {shape} ")[2] for clause in told if f"{colour} {shape} " in clause] == [
            answer.removeprefix("it ")
        ]
    if re.search("flash|moment", text):
        verb = " flashes up"
    else:
        verb = " disappears" if re.search("disappear|away|vanish", text) else " appears"
    names = [re.sub("^the", "a", clause.partition(verb)[0]) for clause in told if verb in clause]
    if answer == "nothing":
        return not names
    return names in ([answer], [answer.replace("an ", "a ")])


def _describe(timeline: Timeline, text: str, answer: str) -> bool:
    first = sorted(states(timeline)[0].values(), key=lambda state: state[2])
    start, *rest = answer.split(". ")
    if [f"{colour} {shape}" for colour, shape, *_ in first] != re.findall(f"{COLOURS} {SHAPES}", start):
        return False
    if any(place(x, y) not in start for _, _, x, y in first):
        return False
    told = [clause.removeprefix("then ").rstrip(".") for clause in rest]
    return told == ([clause for _, clause in clauses(timeline)] or ["nothing happens"])


_CHECKS = {
    "colour": _colour,
    "shape": _shape,
    "exists": _exists,
    "count": _count,
    "background": _background,
    "position": _position,
    "relation": _relation,
    "motion": _motion,
    "order": _order,
    "change": _change,
    "event": _event,
    "describe": _describe,
}
