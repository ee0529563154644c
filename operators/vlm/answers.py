"""Reads what a vision-language model answers: lenient in form, strict in content.

Form is what models vary without meaning anything by it: Markdown, code fences, quotation marks of any language, a word
before and a wish after, a further key, "Answer: Yes." for "Answer: Yes", JSON in the place of labelled lines and the
other way round. Content is what is asked for. An answer that says both or neither, hedges, refuses, breaks off, or
gives the question back is a Reject, unparsed, with the answer as the model gave it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manifests.schema import Reject
from operators.vlm.responses import Answer

_MAX_TEXT_CHARS = 4_000  # of one text in an answer
_MAX_ANSWER_CHARS = 20_000  # what is longer than any prompt allows is not searched
_MOST_BRACES = 30  # at so many it is tried whether an object begins

_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)  # what reasoning models say to themselves
_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w-]*[ \t]*$", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*(?:>+|#{1,6}|[-*•–—]|\(?\d{1,2}[.)])[ \t]+", re.MULTILINE)
_EMPHASIS = re.compile(r"(?<!\w)(?:\*{1,3}|_{1,3})(?=\S)|(?<=\S)(?:\*{1,3}|_{1,3})(?!\w)|`")
_LEAD_IN = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely|okay|ok)(?: thing)?[.!,:]\s*)?"
    r"(?:here (?:it is|you go|they are)[:：.!]|here(?:['’]s| is| are)\b[^\n:：]{0,60}\b(?:caption|description|prompt|"
    r"answer|json|response|assessment|comparison|analysis|result|instruction|edit|differences)\b[^\n:：]{0,60}[:：])?\s*",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"(?:^|(?<=[.!?。]))\s*(?:i hope|hope (?:this|that)|let me know|feel free|if you (?:need|want|have|would like)|"
    r"please let me know|is there anything|would you like)\b[^\n]*\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_REFUSAL = re.compile(
    r"(?:unfortunately,? |sorry,? |oops,? )*(?:but )?(?:i(?:['’]m| am) (?:sorry|unable|not able|afraid)|i apologi[sz]e|"
    r"i (?:can(?:not|['’]t)|won['’]t|do not|don['’]t)\b|as an ai\b|sorry\b|unfortunately\b|"
    r"(?:n/a|none|unknown|not applicable|no caption)\W*$)",
    re.IGNORECASE,
)
_UNABLE = re.compile(
    r"\b(?:cannot|can['’]t|can not|unable to|not able to|impossible to)\s+(?:\w+\s+)?"
    r"(?:determine|tell|say|compare|judge|decide|answer|assess|assist|help|see|view|access|provide)\b",
    re.IGNORECASE,
)
_BLANK = re.compile(r"[<\[{][^<>\[\]{}]*[>\]}]")  # a place to be filled in, as a form has it
_QUOTES = {
    '"': '"',
    "'": "'",
    "“": "”",
    "”": "”",
    "„": "“”",
    "‟": "”",
    "‘": "’",
    "‚": "‘’",
    "«": "»",
    "»": "«",
    "‹": "›",
    "›": "‹",
    "「": "」",
    "『": "』",
    "《": "》",
    "＂": "＂",
}
"""Opening quotation marks, and those that may close them: English, German, French, Chinese and Japanese."""

_DOUBLE = re.compile("[“”„‟«»「」『』《》＂]")
_OPEN, _CLOSE = "\"'“„‚‘«‹「『《([{<", "\"'“”‘’»›」』》)]}>"
_END = re.compile(r"\s*(?:$|[.,;:!?\n(—–。，；：！？]|-(?=\s))")
_SENTENCES = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")
_SAME = re.compile(r"\b(?:same|style|semantics?|layout|contents?|match(?:es)?|agree)\b", re.IGNORECASE)
_DIFFERENT = re.compile(r"\b(?:differ|chang|not\b|other\b)", re.IGNORECASE)
"""Of what is asked: a yes to a question of the second kind is a no to those that the prompts ask."""
_HEDGES = re.compile(
    r"(?:but|or|though|although|except|mostly|mainly|largely|partly|partially|probably|perhaps|maybe|possibly|likely|"
    r"somewhat|almost|not (?:sure|certain|really|entirely)|in (?:part|some)|to (?:some|a certain)|kind of|sort of|"
    r"more or less|i (?:think|guess|believe|am not))\b",
    re.IGNORECASE,
)
_SUBJECTS = re.compile(r"\s+(?:they|it|both|the|this|these|that|because|since|as)\b", re.IGNORECASE)  # "Yes they do"

_BOTH = r"(?:they|these|those|both|it|(?:the|these|both)(?: \w+){1,3}?)(?: \w+ly)?"
_TAKEN_BACK: Mapping[str, re.Pattern[str]] = {
    "yes": re.compile(
        rf"(?:there (?:is|are) (?!no\b)(?:\w+ )?differences?\b|{_BOTH} (?:differ\b|"
        r"(?:is|are|look)(?: \w+ly| very| quite)? different\b|"
        r"(?:is|are|do|does)(?: not|n['’]t)(?: have)?(?: the)? (?:same|alike|similar|identical|match|agree|share)\b))"
        r"(?![^.!?\n]*\b(?:only|but|though|although|while)\b)",
        re.IGNORECASE,
    ),
    "no": re.compile(
        rf"(?:there (?:is|are) no(?: \w+)? differences?|{_BOTH} (?:are|is|have|has|share|shares)(?: \w+ly)? "
        r"(?:the same|identical)(?: \w+){0,4})\W*$",
        re.IGNORECASE,
    ),
}
"""By what an answer begins with: how it goes on if it means the contrary, as in "Yes, they differ." """

_SECOND_THOUGHT = r"\b(?:actually|wait|correction|rather|on second thoughts?|looking (?:closer|again))\b[^.!?\n]{0,60}?"
"""Before a choice that takes the place of one that was made."""

_ANSWER = ("answer", "final answer", "my answer", "verdict", "decision", "conclusion", "final verdict")
_REASONING = ("reasoning", "reason", "reasons", "explanation", "rationale", "justification", "analysis")

Names = Mapping[str, Sequence[str]]
"""Names of the parts of an answer, each with what models call it too. Case, spaces, "_" and "-" make no difference."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """An answer in parts, as it says them: a caller makes texts of them by `one_text`."""

    said: Mapping[str, str]
    """By name, those that the answer has."""
    rest: str
    """What stands under no label, without Markdown. Nothing if the parts are those of a JSON object."""
    around: str = ""
    """What stands before and behind JSON objects."""


def read_parts(answer: Answer, names: Names) -> Parts:
    """The parts of an answer: the values of a JSON object, or what follows labels. Further ones are passed over.

    Raises Reject, unparsed, if the answer gives a part twice and not the same both times.
    """
    text = _THOUGHT.sub("", answer.text)
    if len(text) > _MAX_ANSWER_CHARS or text.lstrip().startswith("<think>"):  # it never came to its answer
        raise unparsed(answer)
    called = {_key(one): name for name, others in names.items() for one in (name, *others)}
    objects, around = _objects(text)
    records = [
        record
        for one in objects
        if (record := _known(((called.get(_key(key)), _plain_value(value)) for key, value in one), answer))
    ]
    if records:
        best = max(records, key=len)
        if any(best.get(name, value) != value for record in records for name, value in record.items()):
            raise unparsed(answer)  # a draft and what became of it, or two answers
        if any(len(record) == len(best) and record != best for record in records):
            raise unparsed(answer)
        return Parts(said=best, rest="", around=_plain(around))
    plain = _plain(text)
    marks = list(_labels(list(called.values()), names).finditer(plain))
    ends = [mark.start() for mark in marks[1:]] + [len(plain)] * bool(marks)
    labelled = [
        (called[_key(mark["label"] or mark["heading"])], plain[mark.end() : end].strip())
        for mark, end in zip(marks, ends, strict=True)
    ]
    return Parts(
        said=_known(labelled, answer), rest=_LEAD_IN.sub("", plain[: marks[0].start() if marks else None].strip())
    )


def one_text(value: str, answer: Answer, asked: str = "") -> str:
    """A text as one line, without quotation marks around it, a word before it and a wish after it.

    `asked` is the template of the prompt. Raises Reject, unparsed, for a text that is empty, too long, a refusal, cut
    off, or words of the template.
    """
    text = _unquoted(" ".join(_WISH.sub("", _LEAD_IN.sub("", value.strip(), count=1)).split()))
    echoed = " " in text and " ".join(text.casefold().rstrip(".").split()) in " ".join(asked.casefold().split())
    if (
        not any(letter.isalpha() for letter in text)
        or len(text) > _MAX_TEXT_CHARS
        or not text.isprintable()
        or text.endswith(("...", "…"))
        or echoed
        or _BLANK.fullmatch(text)
        or _REFUSAL.match(text)
    ):
        raise unparsed(answer)
    return text


def read_text(answer: Answer, name: str, others: Sequence[str], asked: str) -> str:
    """The one text that was asked for: what its label or key has, or the whole answer where there is neither.

    Raises Reject, unparsed, as `one_text`, and for an answer without a label that is no sentence, of fewer words than
    three.
    """
    parts = read_parts(answer, {name: others})
    if name in parts.said:
        return one_text(parts.said[name], answer, asked)
    text = one_text(parts.rest, answer, asked)
    if len(text.split()) < 3 and text.isascii():  # Chinese has no spaces
        raise unparsed(answer)
    return text


def read_choice(answer: Answer, choices: Collection[str], labels: Sequence[str] = _ANSWER) -> tuple[str, str]:
    """Which of the choices an answer makes, and what it gives as its reason, "" for none.

    What stands behind a label counts, such as "Answer:"; without one, what the answer begins with, a sentence of its
    own, and "the answer is ...". All must agree. Raises Reject, unparsed, if they do not, if there is none, and if it
    is hedged.
    """
    parts = read_parts(answer, {"answer": labels, "reasoning": _REASONING})
    found: list[str] = []
    reasons = [parts.said.get("reasoning", "")]
    opening = _choice_at(parts.rest, choices, answer)
    if opening:
        found.append(opening[0])
    if "answer" in parts.said:
        labelled = _choice_at(parts.said["answer"], choices, answer)
        if not labelled:
            raise unparsed(answer)
        found.append(labelled[0])
        reasons += [parts.rest, labelled[1]]
    else:
        reasons.append(opening[1] if opening else _without_last(parts.rest, choices))
    for text in (parts.rest, parts.around):
        found += _alone(text, choices, answer)
    for text in (parts.around, parts.said.get("reasoning", "")):  # they may agree, and need not say it
        if one := _choice_at(text, choices, answer):
            found.append(one[0])
    everything = " ".join([parts.rest, parts.around, *parts.said.values()])
    concluding = rf"\banswer (?:is|would be|must be)\b:?\s*|{_SECOND_THOUGHT}(?=\b(?:{_any(choices)})\b\W*(?:$|\n))"
    for place in re.finditer(concluding, everything, re.IGNORECASE):
        if one := _choice_at(everything[place.end() :], choices, answer):
            found.append(one[0])
    if len(set(found)) != 1 or _UNABLE.search(everything) or _REFUSAL.match(everything.strip()):
        raise unparsed(answer)
    return found[0], next((" ".join(reason.split()) for reason in reasons if reason.strip()), "")


def one_of(value: str, allowed: Collection[str], answer: Answer) -> str:
    """Which of the allowed ones a value names, whatever its case, separators and punctuation, and what it adds.

    Raises Reject, unparsed, with the raw answer, if it names none, or more than one.
    """
    named = _choice_at(_unquoted(value), allowed, answer)
    if not named or any(_names(one, named[1]) for one in allowed if one != named[0]):
        raise unparsed(answer)
    return named[0]


def named_in(text: str, allowed: Collection[str], answer: Answer) -> str:
    """The one of the allowed names that a text has in it. Raises Reject, unparsed, for none and for several."""
    named = [one for one in allowed if _names(one, text)]
    if len(named) != 1:
        raise unparsed(answer)
    return named[0]


def unparsed(answer: Answer) -> Reject:
    """The Reject of an answer that does not say what was asked for."""
    return Reject("unparsed", answer.text)


def _choice_at(text: str, choices: Collection[str], answer: Answer) -> tuple[str, str] | None:
    """The choice that a text begins with, and what follows. Raises Reject, unparsed, if it is taken back at once."""
    words = {_key(choice): choice for choice in choices}
    begin = re.match(rf"[\s{re.escape(_OPEN)}]*(?P<word>{_any(choices)})(?!\w)", text, re.IGNORECASE)
    if not begin:
        return None
    tail = re.sub(rf"^ ?[{re.escape(_CLOSE)}]+", "", text[begin.end() :])
    if re.match(r"\s*(?:[/|\\]|(?:and|or|but)\b)", tail, re.IGNORECASE):  # "Yes/No", "Yes and no"
        raise unparsed(answer)
    if not _END.match(tail) and not _SUBJECTS.match(tail):  # "No brush strokes are seen" is no "No"
        return None
    if tail.lstrip().startswith(("?", "？")):
        raise unparsed(answer)
    after = tail.lstrip(" \t\n.,;:!(—–-。，；：！" + _OPEN)
    other = re.match(rf"(?:and\s+|or\s+)?(?P<word>{_any(choices)})(?!\w)", after, re.IGNORECASE)
    changed = other and _END.match(after[other.end() :]) and _key(other["word"]) != _key(begin["word"])
    contrary = _TAKEN_BACK.get(_key(begin["word"]))
    if _HEDGES.match(after) or changed or (contrary and contrary.match(after)):
        raise unparsed(answer)
    return words[_key(begin["word"])], after.strip()


def _alone(text: str, choices: Collection[str], answer: Answer) -> Iterator[str]:
    """The choices that are a sentence of their own, behind a label or behind a question, if these ask for them."""
    words = {_key(choice): choice for choice in choices}
    before = ""
    for place in _SENTENCES.finditer(text):
        label, colon, said = place[0].rpartition(":")
        bare = (said if colon else place[0]).strip(" \t\n.!。！" + _OPEN + _CLOSE)
        asked = label if colon else before
        behind = bool(colon) or before.rstrip().endswith(("?", "？"))
        before = place[0]
        if behind and not (_SAME.search(asked) and not _DIFFERENT.search(asked)):
            continue  # "Is anything different? No."
        if re.fullmatch(_any(choices), bare, re.IGNORECASE):
            yield words[_key(bare)]
        elif behind and not colon and (one := _choice_at(text[place.start() :], choices, answer)):
            yield one[0]


def _without_last(text: str, choices: Collection[str]) -> str:
    """A text without the sentence at its end that is only a choice."""
    return re.sub(
        rf"(?:^|(?<=[.!?。\n]))\s*[{re.escape(_OPEN)}]*(?:{_any(choices)})[{re.escape(_CLOSE)}.!]*\s*$",
        "",
        text,
        flags=re.IGNORECASE,
    )


def _any(choices: Collection[str]) -> str:
    """A pattern of any of the choices, the longest first."""
    return "|".join(_spelled(choice) for choice in sorted(choices, key=len, reverse=True))


def _spelled(name: str) -> str:
    """A pattern of a name, with or without separators between its words."""
    return r"[\s_/-]*".join(re.escape(word) for word in re.split(r"[\s_/-]+", name))


def _names(name: str, text: str) -> bool:
    return bool(re.search(rf"(?<!\w){_spelled(name)}(?!\w)", text, re.IGNORECASE))


def _labels(used: Sequence[str], names: Names) -> re.Pattern[str]:
    """A pattern of labels: at the begin of a line or sentence, with a colon or dash; or alone in a line."""
    assert used
    alternatives = _any([one for name, others in names.items() for one in (name, *others)])
    return re.compile(
        rf"(?:^|(?<=[.!?。]))[ \t]*(?:(?:the|my)[ \t]+)?(?P<label>{alternatives})[ \t]*(?:\([^)\n]*\)[ \t]*)?"
        rf"(?:[:：=]|[–—]|-(?=\s))|^[ \t]*(?P<heading>{alternatives})[ \t]*$",
        re.IGNORECASE | re.MULTILINE,
    )


def _known(items: Any, answer: Answer) -> dict[str, str]:
    """Names and values as a dictionary, without those that have no name or nothing to say."""
    said: dict[str, str] = {}
    for name, value in items:
        if name and value is not None and said.setdefault(name, value) != value:
            raise unparsed(answer)
    return said


def _plain_value(value: Any) -> str | None:
    """A value of a JSON object as text; None for one that is no text."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return " ".join(value)
    if isinstance(value, list) and value and all(isinstance(one, int | float) for one in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else None


def _objects(text: str) -> tuple[list[list[tuple[str, Any]]], str]:
    """The JSON objects in a text, as keys and values, from its begin to its end, those in others too; and the rest."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs)
    for tried in (text, _DOUBLE.sub('"', text), re.sub(r",\s*([}\]])", r"\1", _DOUBLE.sub('"', text))):
        found: list[list[tuple[str, Any]]] = []
        around, behind = "", 0
        at = tried.find("{")
        for _ in range(_MOST_BRACES):
            if at < 0:
                break
            try:
                record, end = decoder.raw_decode(tried, at)
            except (ValueError, RecursionError):
                end = at + 1
            else:
                found += [record, *(inner for _, inner in record if isinstance(inner, _Pairs))]
                around += f"{tried[behind:at]}\n"
                behind = end
            at = tried.find("{", end)
        if found:
            return found, around + tried[behind:]
    return [], ""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its keys and values in order: a key may be there twice."""


def _plain(text: str) -> str:
    """A text without Markdown, in its lines."""
    text = _FENCE.sub("", _INVISIBLE.sub("", text.replace("\r\n", "\n")))
    return _EMPHASIS.sub("", _BULLET.sub("", _BULLET.sub("", text))).strip()


def _unquoted(text: str) -> str:
    """A text without the quotation marks that stand around the whole of it."""
    if len(text) > 2 and text[-1] in _QUOTES.get(text[0], ""):
        inner = text[1:-1]
        if text[0] not in inner and text[-1] not in inner:
            return inner.strip()
    return text


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
